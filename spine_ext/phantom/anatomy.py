"""The patient: sizes and angles of a lumbar spine, in millimetres and degrees, before any view is drawn.

Means are textbook values of adult lumbar morphometry; the spread is that between healthy adults.
Arrays run upwards: index 0 is L5. "Disc i" is the one below vertebra i, so disc 0 is L5/S1.
"""

from dataclasses import dataclass

import numpy as np

LEVELS = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10")

_DEPTH_MM = np.array([35.0, 35.0, 35.0, 34.0, 33.0, 32.0, 31.0, 30.0])
_WIDTH_MM = np.array([50.0, 48.5, 46.0, 44.0, 42.0, 40.0, 38.0, 36.0])
_FRONT_MM = np.array([29.0, 28.0, 27.5, 27.0, 26.5, 25.0, 23.5, 22.5])
_BACK_MM = np.array([24.5, 27.0, 27.5, 27.5, 27.5, 26.5, 24.5, 23.5])
_DISC_MM = np.array([10.5, 12.0, 11.5, 10.5, 9.5, 7.5, 6.0, 5.5])
_DISC_WEDGE_DEG = np.array([14.0, 10.0, 8.0, 6.0, 5.0, 2.0, 1.0, 0.0])


@dataclass(frozen=True)
class Anatomy:
    """One spine. Arrays hold one value per vertebra (or the disc below it), from L5 upwards.

    depth_mm, width_mm: front to back, and side to side. front_mm, back_mm: heights of the body's walls.
    cave_mm: how far each end plate bows into the body. disc_mm, disc_wedge_deg: the disc's height and angle.
    slip_mm: forward slip against the vertebra below. shift_mm: the same sideways.
    lean_deg: tilt of each vertebra in the frontal plane (scoliosis).
    foramen: size of the neural foramen at each disc, 1 = normal.
    density: brightness of bone, 1 = normal. girth: amount of soft tissue, 1 = normal.
    """

    depth_mm: np.ndarray
    width_mm: np.ndarray
    front_mm: np.ndarray
    back_mm: np.ndarray
    cave_mm: np.ndarray
    disc_mm: np.ndarray
    disc_wedge_deg: np.ndarray
    slip_mm: np.ndarray
    shift_mm: np.ndarray
    lean_deg: np.ndarray
    foramen: np.ndarray
    sacral_slope_deg: float
    density: float
    girth: float


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A healthy adult's spine: ordinary variation of size, curvature and build, no disease."""
    count = len(LEVELS)
    size = rng.normal(1.0, 0.04)
    lordosis = rng.normal(1.0, 0.18)
    bow_deg = rng.normal(0.0, 2.0)  # the slight scoliosis nearly everyone has
    lean_deg = bow_deg * np.cos(np.linspace(0.0, 2.6, count)) + rng.normal(0.0, 0.6, count)
    disc = rng.normal(1.0, 0.05)  # some people have taller discs than others
    return Anatomy(
        depth_mm=size * _DEPTH_MM * rng.normal(1.0, 0.012, count),
        width_mm=size * _WIDTH_MM * rng.normal(1.0, 0.012, count),
        front_mm=size
        * _FRONT_MM
        * np.clip(rng.normal(0.995, 0.018, count), 0.95, 1.04),  # mild wedging is normal
        back_mm=size * _BACK_MM * rng.normal(1.0, 0.012, count),
        cave_mm=rng.uniform(0.8, 1.6) + rng.normal(0.0, 0.2, count),
        disc_mm=size * disc * _DISC_MM * np.clip(rng.normal(1.0, 0.06, count), 0.86, 1.14),
        disc_wedge_deg=_DISC_WEDGE_DEG * lordosis + rng.normal(0.0, 1.0, count),
        slip_mm=rng.normal(0.0, 0.5, count),
        shift_mm=rng.normal(0.0, 0.4, count),
        lean_deg=lean_deg,
        foramen=rng.normal(1.0, 0.05, count),
        sacral_slope_deg=38.0 * lordosis + rng.normal(0.0, 2.5),
        density=rng.normal(1.0, 0.10),
        girth=rng.normal(1.0, 0.12),
    )
