"""What a view draws: shapes in millimetres on named layers of tissue, and the findings a reader would box.

Coordinates are (x, y) with x to the right and y down, as in the finished image; points are (N, 2) arrays.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Layer:
    """How a layer attenuates X-rays. Units: 1 = a vertebral body's spongy bone.

    fill: attenuation inside. rim: extra at the edge (cortical bone), falling off inwards over rim_mm.
    soft_mm: blur of the outline. grain: strength of the spongy texture.
    """

    fill: float
    rim: float = 0.0
    rim_mm: float = 1.5
    soft_mm: float = 0.0
    grain: float = 0.0


LAYERS = {
    "muscle": Layer(0.35, soft_mm=2.5),
    "gas": Layer(-0.55, rim=-0.15, rim_mm=3.0, soft_mm=1.5),
    "pelvis": Layer(0.45, rim=0.35, rim_mm=2.0, grain=0.10),
    "sacrum": Layer(0.75, rim=0.40, grain=0.12),
    "rib": Layer(0.22, rim=0.22),
    "body": Layer(0.85, rim=0.75, rim_mm=1.7, grain=0.14),
    "process": Layer(0.36, rim=0.30, rim_mm=1.5, grain=0.06),
    "arch": Layer(0.45, rim=0.40, rim_mm=1.6, grain=0.08),
    "spur": Layer(0.90, rim=0.50, rim_mm=1.2),
    "cortex": Layer(0.60, soft_mm=0.4),
    "sclerosis": Layer(1.0, soft_mm=1.3),
    "lysis": Layer(-1.1, soft_mm=1.0),
    "metal": Layer(4.5),
    "button": Layer(2.2, rim=0.8, rim_mm=1.0),
}


@dataclass(frozen=True)
class Shape:
    """A filled polygon, or a line where `width_mm` is given; `weight` (0..1) scales the layer's attenuation."""

    points_mm: np.ndarray
    weight: float
    width_mm: float | None = None


@dataclass(frozen=True)
class Finding:
    """A lesion type and the box around it: xmin, ymin, xmax, ymax."""

    type: str
    box: tuple[float, float, float, float]


@dataclass
class Drawing:
    """A view under construction. Within a layer, what is drawn later covers what was drawn before."""

    shapes: dict[str, list[Shape]] = field(default_factory=lambda: {name: [] for name in LAYERS})
    findings: list[tuple[str, np.ndarray]] = field(default_factory=list)

    def area(self, layer: str, points_mm: np.ndarray, weight: float = 1.0) -> None:
        self.shapes[layer].append(Shape(np.asarray(points_mm), weight))

    def line(self, layer: str, points_mm: np.ndarray, width_mm: float, weight: float = 1.0) -> None:
        self.shapes[layer].append(Shape(np.asarray(points_mm), weight, width_mm))

    def find(self, lesion_type: str, points_mm: np.ndarray) -> None:
        """Records that a finding of this type covers these points."""
        self.findings.append((lesion_type, np.asarray(points_mm)))


@dataclass(frozen=True)
class Frame:
    """A vertebra's axes: `origin` in the middle of its lower end plate, `out` along it, `up` towards the head."""

    origin: np.ndarray
    out: np.ndarray
    up: np.ndarray

    def at(self, *points: tuple[float, float]) -> np.ndarray:
        """(along out, along up) pairs in mm -> (N, 2) image coordinates."""
        local = np.asarray(points, dtype=float)
        return self.origin + local[:, :1] * self.out + local[:, 1:] * self.up


def bowed(start: np.ndarray, end: np.ndarray, bow_mm: float, count: int = 9) -> np.ndarray:
    """Points from start to just before end, on a parabola that bulges `bow_mm` to the right of the way."""
    t = np.linspace(0.0, 1.0, count, endpoint=False)[:, None]
    along = end - start
    right = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    return start + t * along + 4.0 * t * (1.0 - t) * bow_mm * right


def rounded(points_mm: np.ndarray, rounds: int = 2) -> np.ndarray:
    """A closed outline with its corners cut (Chaikin 1974), each round twice as fine."""
    for _ in range(rounds):
        following = np.roll(points_mm, -1, axis=0)
        cut = np.stack([0.75 * points_mm + 0.25 * following, 0.25 * points_mm + 0.75 * following], axis=1)
        points_mm = cut.reshape(-1, 2)
    return points_mm


def ellipse(centre: np.ndarray, along: np.ndarray, across: np.ndarray, count: int = 24) -> np.ndarray:
    """An ellipse spanned by two half axes (vectors in mm)."""
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)[:, None]
    return centre + np.cos(angle) * along + np.sin(angle) * across


def blob(
    centre: np.ndarray, radius_mm: float, rng: np.random.Generator, roughness: float = 0.25
) -> np.ndarray:
    """An irregular round outline."""
    angle = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)
    radius = np.ones_like(angle)
    for harmonic in (2, 3, 4, 5):
        radius += (
            roughness / harmonic * rng.normal() * np.cos(harmonic * angle + rng.uniform(0.0, 2.0 * np.pi))
        )
    radius = radius_mm * np.clip(radius, 0.4, 1.6)
    return centre + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def spur(corner: np.ndarray, outward: np.ndarray, towards_disc: np.ndarray, length_mm: float) -> np.ndarray:
    """A beak on a body's corner: a broad base on the wall, the tip turned over the disc space."""
    base = 0.95 * length_mm + 1.5
    root = corner - base * towards_disc - 0.6 * outward
    tip = corner + length_mm * outward + 0.32 * length_mm * towards_disc
    inner = corner - 3.0 * outward - 0.4 * towards_disc
    hollow = corner + 0.42 * length_mm * outward - 0.30 * base * towards_disc
    ridge = corner + 0.45 * length_mm * outward + 0.12 * length_mm * towards_disc
    return np.array([root, hollow, tip, ridge, inner])
