"""From attenuation to a film: soft tissue, scatter, quantum noise, the tone curve, collimator and markers."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .anatomy import Anatomy
from .drawing import Drawing, ellipse
from .render import Field, haze

_ABSORPTION = 0.75  # natural log units of intensity per unit of attenuation


def soft_tissue(field: Field, anatomy: Anatomy, view: str, rng: np.random.Generator) -> np.ndarray:
    """Attenuation of the body around the bones, float32 (height, width)."""
    x, y = field.to_mm()
    if view == "lateral":
        skin = 76 * anatomy.girth + 10 * np.sin((y + 60) / 60) + rng.uniform(-6, 6)  # behind it is air
        depth = np.clip((skin - x) / 60, 0, 1)
        base = 2.6 * anatomy.girth * np.sqrt(depth) - 0.35 * np.clip(-x / 90, 0, 1.2)
    else:
        half = 135 * anatomy.girth
        base = 2.1 * anatomy.girth * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1)) + 0.25
    base = base + 0.40 * np.clip((y + 40) / 130, -1, 1)  # the pelvis is thicker than the chest
    dome = -162 + rng.uniform(-8, 8) + (0.0006 if view == "frontal" else 0.0004) * (x - 10) ** 2
    lung = 1 / (1 + np.exp(np.clip((y - dome) / 3, -20, 20)))
    return (base - 0.7 * lung + 0.10 * haze(field, rng, 35) + 0.04 * haze(field, rng, 9)).astype(np.float32)


def add_clutter(drawing: Drawing, field: Field, rng: np.random.Generator) -> None:
    """Metal that is no finding: buttons, a zip fastener, an electrode with its lead."""
    reach = field.width_px / field.px_per_mm / 2
    centre = np.asarray(field.centre_mm)
    kind = rng.random()
    if kind < 0.07:
        x, gap = centre[0] + rng.uniform(-0.5, 0.5) * reach, rng.uniform(38, 60)
        for step in range(-2, 3):
            drawing.area(
                "button",
                ellipse(np.array([x, centre[1] + step * gap]), np.array([4.5, 0.0]), np.array([0.0, 4.5])),
            )
    elif kind < 0.11:
        x = centre[0] + rng.uniform(-0.55, 0.55) * reach
        for step in range(-30, 10):
            y = centre[1] + 3.4 * step
            drawing.line("button", np.array([[x - 1.6, y], [x + 1.6, y]]), 1.5, 0.8)
    elif kind < 0.16:
        spot = (
            centre + np.array([rng.choice([-1, 1]) * rng.uniform(0.4, 0.8), rng.uniform(-0.8, 0.2)]) * reach
        )
        drawing.area("button", ellipse(spot, np.array([6.0, 0.0]), np.array([0.0, 6.0])), 0.6)
        drawing.line("button", spot + np.array([[0, 0], [12, -20], [8, -55], [25, -110]]), 1.4, 0.7)


def expose(total: np.ndarray, field: Field, rng: np.random.Generator, size_px: tuple[int, int]) -> np.ndarray:
    """The film for these rays, bone bright: float32 (height, width) of `size_px` = (width, height), 0..1.

    Scatter adds a blurred copy of the primary image. The quantum noise follows the number of quanta that
    arrive, so dense parts are grainier. The tone curve is logarithmic with soft shoulders, like a processed
    radiograph's.
    """
    primary = np.exp(-_ABSORPTION * total)
    small = (max(2, field.width_px // 8), max(2, field.height_px // 8))
    scatter = Image.fromarray(primary).resize(small, Image.Resampling.BOX)
    scatter = Image.fromarray(_smooth(np.asarray(scatter), 12 * field.px_per_mm / 8))
    ratio = rng.uniform(0.25, 0.6)
    arrived = (
        primary + ratio * np.asarray(scatter.resize(primary.shape[::-1], Image.Resampling.BICUBIC))
    ) / (1 + ratio)
    density = -np.log(np.maximum(arrived, 1e-4)) / _ABSORPTION
    # Exposure control looks at the middle of the field, as an ionisation chamber does.
    height, width = density.shape
    middle = density[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
    level, spread = (
        float(np.percentile(middle, 45)),
        float(np.percentile(middle, 92) - np.percentile(middle, 8)),
    )
    density = (density - level) / float(np.clip(spread, 0.8, 1.5))
    density = np.asarray(Image.fromarray(density).resize(size_px, Image.Resampling.BICUBIC))
    quantum = rng.uniform(0.020, 0.045) * np.exp(np.clip(0.5 * density, -1.0, 1.5))
    density = density + quantum * rng.standard_normal(density.shape, dtype=np.float32)
    brightness, contrast = rng.normal(0.0, 0.12), np.exp(rng.normal(0.0, 0.13))
    return (1 / (1 + np.exp(-(2.1 * contrast * density - 0.45 + brightness)))).astype(np.float32)


def _smooth(values: np.ndarray, radius_px: float) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1e-9)
    grey = Image.fromarray(np.uint8(255 * (values - low) / span)).filter(ImageFilter.GaussianBlur(radius_px))
    return np.asarray(grey, dtype=np.float32) / 255 * span + low


_LETTERS = {  # strokes in a box one wide and 1.5 high
    "L": [[(0.0, 0.0), (0.0, 1.5), (0.9, 1.5)]],
    "R": [
        [(0.0, 1.5), (0.0, 0.0), (0.7, 0.05), (0.9, 0.38), (0.7, 0.72), (0.0, 0.75)],
        [(0.35, 0.75), (0.95, 1.5)],
    ],
}


def finish(film: np.ndarray, view: str, rng: np.random.Generator) -> np.ndarray:
    """Collimator blades darken the borders, if they are in the field; a lead letter tells the side."""
    height, width = film.shape
    scale = min(height, width)
    film = film.copy()
    if rng.random() < 0.55:
        corner = [rng.uniform(0.0, 0.055) * scale for _ in range(4)]
        slant = rng.normal(0.0, 0.006) * scale
        left, top, right, bottom = corner[0], corner[1], width - corner[2], height - corner[3]
        blades = Image.new("L", (width, height))
        opening = [
            (left + slant, top - slant),
            (right + slant, top + slant),
            (right - slant, bottom + slant),
            (left - slant, bottom - slant),
        ]
        ImageDraw.Draw(blades).polygon(opening, fill=255)
        blades = blades.filter(ImageFilter.GaussianBlur(0.004 * scale))
        film *= np.asarray(blades, dtype=np.float32) / 255
    if rng.random() < 0.8:
        letter = str(rng.choice(["L", "R"]))
        size = rng.uniform(0.032, 0.045) * scale
        on_left = (
            letter == "R" if view == "frontal" else rng.random() < 0.8
        )  # the patient's right is on the image's left
        x = scale * rng.uniform(0.07, 0.12)
        x = x if on_left else width - x - size
        y = scale * rng.uniform(0.07, 0.2) if rng.random() < 0.6 else height - scale * rng.uniform(0.15, 0.25)
        marker = Image.new("L", (width, height))
        pen = ImageDraw.Draw(marker)
        for stroke in _LETTERS[letter]:
            points = [(x + size * u, y + size * v) for u, v in stroke]
            pen.line(points, fill=255, width=max(2, round(0.2 * size)), joint="curve")
        film = np.maximum(film, np.asarray(marker, dtype=np.float32) / 255)
    return film
