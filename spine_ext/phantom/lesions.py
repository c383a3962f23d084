"""The seven findings of VinDr-SpineXR: how often, where, how severe, and what they do to the anatomy.

What changes a bone's shape (height, slip) happens here; what is added to it (spurs, screws) is drawn by the views.
"""

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy

NO_FINDING = "No finding"
OSTEOPHYTES = "Osteophytes"
DISC_NARROWING = "Disc space narrowing"
IMPLANT = "Surgical implant"
FORAMINAL_STENOSIS = "Foraminal stenosis"
SLIP = "Spondylolysthesis"  # the data set's own spelling
COLLAPSE = "Vertebral collapse"
OTHER = "Other lesions"

LESION_TYPES = (OSTEOPHYTES, DISC_NARROWING, IMPLANT, FORAMINAL_STENOSIS, SLIP, COLLAPSE, OTHER)

# Chance of being a diseased patient's main finding, and of coming along with another one.
_MAIN = dict(zip(LESION_TYPES, (0.31, 0.12, 0.13, 0.10, 0.15, 0.12, 0.07), strict=True))
_ALONG = dict(zip(LESION_TYPES, (0.22, 0.09, 0.01, 0.05, 0.04, 0.04, 0.03), strict=True))


@dataclass(frozen=True)
class Lesion:
    """One finding at one place.

    type: one of `LESION_TYPES`. level: index of the vertebra, or of the disc below it (0 is L5, or L5/S1).
    severity: 0 (just visible) to 1. variant: which form it takes. side: -1 or 1, where a finding has a side.
    """

    type: str
    level: int
    severity: float
    variant: str = ""
    side: int = 1


def draw_lesions(rng: np.random.Generator) -> tuple[Lesion, ...]:
    """The findings of one diseased patient: a main one, sometimes others; several sites where usual."""
    main = LESION_TYPES[rng.choice(len(LESION_TYPES), p=list(_MAIN.values()))]
    kinds = [kind for kind in LESION_TYPES if kind == main or rng.random() < _ALONG[kind]]
    found: list[Lesion] = []
    for kind in kinds:
        found += _DRAW[kind](rng)
    return tuple(found)


def _severity(rng: np.random.Generator) -> float:
    return float(rng.beta(1.9, 1.5))


def _osteophytes(rng: np.random.Generator) -> list[Lesion]:
    count = rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15])
    levels = rng.choice(5, size=count, replace=False, p=[0.12, 0.25, 0.27, 0.22, 0.14])
    overall = _severity(rng)
    return [
        Lesion(
            OSTEOPHYTES,
            int(level),
            float(np.clip(overall + rng.normal(0, 0.15), 0, 1)),
            side=int(rng.choice([-1, 1])),
        )
        for level in levels
    ]


def _disc_narrowing(rng: np.random.Generator) -> list[Lesion]:
    count = rng.choice([1, 2], p=[0.75, 0.25])
    levels = rng.choice(4, size=count, replace=False, p=[0.2, 0.35, 0.27, 0.18])
    return [Lesion(DISC_NARROWING, int(level), _severity(rng)) for level in levels]


def _implant(rng: np.random.Generator) -> list[Lesion]:
    """`level` is the lowest vertebra held; the severity sets how many."""
    variant = str(rng.choice(["screws", "cage and screws", "plate"], p=[0.55, 0.3, 0.15]))
    return [Lesion(IMPLANT, int(rng.choice([0, 1, 2], p=[0.35, 0.4, 0.25])), _severity(rng), variant)]


def _foraminal_stenosis(rng: np.random.Generator) -> list[Lesion]:
    lowest = int(rng.choice([1, 2]))
    return [
        Lesion(FORAMINAL_STENOSIS, lowest + step, _severity(rng)) for step in range(rng.choice([1, 2, 3]))
    ]


def _slip(rng: np.random.Generator) -> list[Lesion]:
    variant = str(rng.choice(["forward", "sideways"], p=[0.8, 0.2]))
    level = (
        int(rng.choice([0, 1, 2], p=[0.25, 0.5, 0.25]))
        if variant == "forward"
        else int(rng.choice([1, 2, 3]))
    )
    return [Lesion(SLIP, level, _severity(rng), variant, side=int(rng.choice([-1, 1])))]


def _collapse(rng: np.random.Generator) -> list[Lesion]:
    count = rng.choice([1, 2], p=[0.8, 0.2])
    levels = rng.choice([1, 2, 3, 4], size=count, replace=False, p=[0.2, 0.28, 0.28, 0.24])
    return [
        Lesion(
            COLLAPSE,
            int(level),
            _severity(rng),
            str(rng.choice(["wedge", "biconcave", "crush"], p=[0.5, 0.25, 0.25])),
        )
        for level in levels
    ]


def _other(rng: np.random.Generator) -> list[Lesion]:
    variant = str(rng.choice(["sclerotic", "lytic", "Schmorl node"], p=[0.45, 0.35, 0.2]))
    return [
        Lesion(OTHER, int(rng.choice([1, 2, 3])), _severity(rng), variant, side=int(rng.choice([-1, 1])))
    ]


_DRAW = {
    OSTEOPHYTES: _osteophytes,
    DISC_NARROWING: _disc_narrowing,
    IMPLANT: _implant,
    FORAMINAL_STENOSIS: _foraminal_stenosis,
    SLIP: _slip,
    COLLAPSE: _collapse,
    OTHER: _other,
}


def deform(anatomy: Anatomy, lesions: tuple[Lesion, ...]) -> Anatomy:
    """The anatomy as the findings have changed it; the given one is left alone."""
    changed = {
        name: getattr(anatomy, name).copy()
        for name in (
            "front_mm",
            "back_mm",
            "cave_mm",
            "disc_mm",
            "disc_wedge_deg",
            "slip_mm",
            "shift_mm",
            "foramen",
        )
    }
    for lesion in lesions:
        level, severity = lesion.level, lesion.severity
        if lesion.type == DISC_NARROWING:
            changed["disc_mm"][level] *= 0.50 - 0.34 * severity
            changed["disc_wedge_deg"][level] *= 0.4
        elif lesion.type == FORAMINAL_STENOSIS:
            changed["foramen"][level] *= 0.55 - 0.4 * severity
        elif lesion.type == SLIP and lesion.variant == "forward":
            changed["slip_mm"][level] += anatomy.depth_mm[level] * (
                0.16 + 0.26 * severity
            )  # Meyerding I to II
            changed["disc_mm"][level] *= 0.75
        elif lesion.type == SLIP:
            changed["shift_mm"][level] += lesion.side * anatomy.width_mm[level] * (0.16 + 0.16 * severity)
        elif lesion.type == COLLAPSE:
            front, back, cave_mm = _collapsed(lesion.variant, severity)
            changed["front_mm"][level] *= front
            changed["back_mm"][level] *= back
            changed["cave_mm"][level] += cave_mm
    return replace(anatomy, **changed)


def _collapsed(variant: str, severity: float) -> tuple[float, float, float]:
    """Shares left of the front and back height, and how much deeper (mm) the end plates bow: Genant's forms."""
    left = 0.64 - 0.31 * severity
    if variant == "wedge":
        return left, 0.97, 0.5
    if variant == "biconcave":
        return 0.95, 0.97, 4.5 + 3.5 * severity
    return left, left + 0.08, 1.0
