"""From shapes to attenuation: what each ray met on its way through the patient."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .drawing import LAYERS, Drawing, Shape


@dataclass(frozen=True)
class Field:
    """The exposed field: how millimetres of the view become pixels of an image.

    width_px, height_px: the image's size. px_per_mm: scale. centre_mm: the point shown in its middle.
    rotation_deg: how far the patient lies turned, clockwise.
    """

    width_px: int
    height_px: int
    px_per_mm: float
    centre_mm: tuple[float, float]
    rotation_deg: float

    def to_px(self, points_mm: np.ndarray) -> np.ndarray:
        angle = np.deg2rad(self.rotation_deg)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        middle = np.array([self.width_px, self.height_px]) / 2
        return (points_mm - np.asarray(self.centre_mm)) @ turn * self.px_per_mm + middle

    def to_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y in mm of every pixel, two (height, width) float32 arrays."""
        angle = np.deg2rad(self.rotation_deg)
        x = (np.arange(self.width_px, dtype=np.float32) + 0.5 - self.width_px / 2)[None, :] / np.float32(
            self.px_per_mm
        )
        y = (np.arange(self.height_px, dtype=np.float32) + 0.5 - self.height_px / 2)[:, None] / np.float32(
            self.px_per_mm
        )
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return x * cos + y * sin + np.float32(self.centre_mm[0]), y * cos - x * sin + np.float32(
            self.centre_mm[1]
        )

    def resized(self, width_px: int, height_px: int) -> "Field":
        """The same field in an image of another size (same proportions)."""
        return Field(
            width_px, height_px, self.px_per_mm * width_px / self.width_px, self.centre_mm, self.rotation_deg
        )


def attenuation(drawing: Drawing, field: Field, density: float, rng: np.random.Generator) -> np.ndarray:
    """Sums all layers: float32 (height, width), 1 = the spongy bone of a normal vertebral body."""
    total = np.zeros((field.height_px, field.width_px), dtype=np.float32)
    grain = _grain(field, rng)
    for name, layer in LAYERS.items():
        if not drawing.shapes[name]:
            continue
        mask = _draw(drawing.shapes[name], field)
        if layer.soft_mm:
            mask = _blurred(mask, layer.soft_mm * field.px_per_mm)
        inside = _unit(mask)
        thickness = layer.fill * inside
        if layer.rim:
            # Inside the outline, the blurred mask is 1/2 at the edge and 1 farther in.
            thickness += (
                layer.rim * inside * 2.0 * (1.0 - _unit(_blurred(mask, layer.rim_mm * field.px_per_mm)))
            )
        if layer.grain:
            thickness += layer.grain * inside * grain
        total += (
            thickness if name in ("metal", "button", "muscle", "gas") else np.float32(density) * thickness
        )
    return total


def _draw(shapes: list[Shape], field: Field) -> Image.Image:
    mask = Image.new("L", (field.width_px, field.height_px))
    pen = ImageDraw.Draw(mask)
    for shape in shapes:
        points = [tuple(point) for point in field.to_px(shape.points_mm).tolist()]
        grey = round(255 * shape.weight)
        if shape.width_mm is None:
            pen.polygon(points, fill=grey)
        else:
            pen.line(points, fill=grey, width=max(1, round(shape.width_mm * field.px_per_mm)), joint="curve")
    return mask


def _blurred(mask: Image.Image, radius_px: float) -> Image.Image:
    """A box as wide as a Gaussian of that radius: edges become straight ramps, at a third of the cost."""
    return mask.filter(ImageFilter.BoxBlur(1.4 * radius_px))


def _unit(mask: Image.Image) -> np.ndarray:
    return np.asarray(mask, dtype=np.float32) / np.float32(255)


def _grain(field: Field, rng: np.random.Generator) -> np.ndarray:
    """The pattern of spongy bone: upright streaks of about a millimetre, zero mean, unit deviation."""
    coarse = rng.standard_normal(
        (
            max(2, int(field.height_px / field.px_per_mm / 2.4)),
            max(2, int(field.width_px / field.px_per_mm / 1.1)),
        ),
        dtype=np.float32,
    )
    return np.asarray(
        Image.fromarray(coarse).resize((field.width_px, field.height_px), Image.Resampling.BILINEAR)
    ) * np.float32(1.5)


def haze(field: Field, rng: np.random.Generator, size_mm: float) -> np.ndarray:
    """Smooth random clouds of about `size_mm`: overlying soft tissue; roughly zero mean, unit deviation."""
    span_mm = np.array([field.height_px, field.width_px]) / field.px_per_mm
    rows, columns = np.maximum(3, np.round(span_mm / size_mm)).astype(int)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return np.asarray(
        Image.fromarray(coarse).resize((field.width_px, field.height_px), Image.Resampling.BICUBIC)
    )
