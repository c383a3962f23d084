"""One phantom radiograph: a patient seen in one view, with boxes around what a reader would report.

Procedural phantom. Not clinical data.
"""

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, draw_anatomy
from .drawing import Drawing, Finding
from .film import add_clutter, expose, finish, soft_tissue
from .frontal import draw_frontal
from .lateral import draw_lateral
from .lesions import Lesion, deform, draw_lesions
from .render import Field, attenuation

VIEWS = ("lateral", "frontal")

_DRAW = {"lateral": draw_lateral, "frontal": draw_frontal}
_CENTRE_MM = {"lateral": (-13.0, -72.0), "frontal": (0.0, -70.0)}  # about the third lumbar vertebra
_DRAWN_PX = 350  # smaller side of the drawing, before it is resized to the file's pixels
_ABNORMAL_PATIENTS = (
    0.56  # not every view shows its patient's findings; about half the images come out normal
)


@dataclass(frozen=True)
class Patient:
    """A spine and its findings. `anatomy` already has the shape the findings gave it."""

    anatomy: Anatomy
    lesions: tuple[Lesion, ...]


@dataclass(frozen=True)
class Phantom:
    """A radiograph and its annotation.

    pixels: float32 (height, width), 0 (black) to 1 (white), bone bright. view: "lateral" or "frontal".
    px_per_mm: scale.
    findings: lesion types with boxes in pixels, inside the image; empty when the image is normal.
    """

    pixels: np.ndarray
    view: str
    px_per_mm: float
    findings: tuple[Finding, ...]


def draw_patient(rng: np.random.Generator) -> Patient:
    """A random patient, more often than not with findings."""
    anatomy = draw_anatomy(rng)
    lesions = draw_lesions(rng) if rng.random() < _ABNORMAL_PATIENTS else ()
    return make_patient(anatomy, lesions)


def make_patient(anatomy: Anatomy, lesions: tuple[Lesion, ...]) -> Patient:
    """A patient with just these findings, for instance to show one of them."""
    return Patient(deform(anatomy, lesions), lesions)


def draw_phantom(
    patient: Patient, view: str, rng: np.random.Generator, size_px: tuple[int, int] = (480, 576)
) -> Phantom:
    """Takes the radiograph of a patient: position, exposure and noise are drawn from `rng`.

    size_px: (width, height) of the image; its smaller side shows about 17 cm.
    """
    field = _position(view, rng, size_px)
    drawing = _DRAW[view](patient.anatomy, patient.lesions, rng)
    add_clutter(drawing, field, rng)
    total = attenuation(drawing, field, patient.anatomy.density, rng) + soft_tissue(
        field, patient.anatomy, view, rng
    )
    pixels = finish(expose(total, field, rng, size_px), view, rng)
    in_file = field.resized(*size_px)
    return Phantom(pixels, view, in_file.px_per_mm, _visible(drawing, in_file))


def _position(view: str, rng: np.random.Generator, size_px: tuple[int, int]) -> Field:
    width, height = size_px
    shrink = _DRAWN_PX / min(width, height)
    field_mm = float(np.clip(rng.normal(172.0, 9.0), 150.0, 195.0))
    x, y = _CENTRE_MM[view]
    centre = (x + float(rng.normal(0.0, 4.0)), y + float(rng.normal(0.0, 6.0)))
    return Field(
        round(width * shrink),
        round(height * shrink),
        _DRAWN_PX / field_mm,
        centre,
        float(rng.normal(0.0, 1.5)),
    )


def _visible(drawing: Drawing, field: Field) -> tuple[Finding, ...]:
    """Boxes in pixels, with a small margin, clipped to the image; those mostly outside are not reported."""
    findings = []
    size = np.array([field.width_px, field.height_px])
    margin = 1.5 * field.px_per_mm
    for lesion_type, points_mm in drawing.findings:
        points = field.to_px(points_mm)
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        inside_low, inside_high = np.clip(low, 0, size - 1), np.clip(high, 0, size - 1)
        if np.prod(inside_high - inside_low) >= 0.5 * np.prod(high - low):
            findings.append(Finding(lesion_type, (*inside_low.tolist(), *inside_high.tolist())))
    return tuple(findings)
