"""Foci in a vertebral body, drawn alike in both views: metastases, bright or dark, and Schmorl nodes."""

import numpy as np

from .drawing import Drawing, blob
from .lesions import OTHER, Lesion


def draw_focus(drawing: Drawing, lesion: Lesion, centre: np.ndarray, rng: np.random.Generator) -> None:
    """The focus of a lesion of type OTHER around `centre` (2,) in mm, with its box."""
    if lesion.variant == "Schmorl node":  # the disc sunk into an end plate, with a sclerotic rim
        radius = 3.5 + 2.5 * lesion.severity
        drawing.area("sclerosis", blob(centre, radius + 2.2, rng, 0.1), 0.8)
        drawing.area("sclerosis", blob(centre, radius, rng, 0.1), 0.0)
        drawing.area("lysis", blob(centre, radius, rng, 0.1), 0.8)
    else:
        radius = 8.0 + 4.0 * lesion.severity
        layer = "sclerosis" if lesion.variant == "sclerotic" else "lysis"
        drawing.area(layer, blob(centre, radius, rng), 1.0)
    drawing.find(OTHER, centre + radius * np.array([[-1.1, -1.1], [1.1, 1.1]]))
