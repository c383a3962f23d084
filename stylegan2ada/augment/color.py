"""Color transformations (ADA paper, appendix B, "color").

All transforms of an image compose to one affine map of its colors.
"""

import math
from dataclasses import dataclass

import torch

from stylegan2ada.errors import UserError

from .batch import where_changed
from .draws import Draws
from .matrices import around_gray, compose, identity, translate_colors


@dataclass(frozen=True)
class Color:
    """Probability multipliers, then strengths. `contrast_std` and `saturation_std` are in octaves (log2),
    `hue_max` in half turns, `brightness_std` in units of the images.
    """

    brightness: float
    contrast: float
    lumaflip: float
    hue: float
    saturation: float
    brightness_std: float
    contrast_std: float
    hue_max: float
    saturation_std: float

    def enabled(self) -> bool:
        return any((self.brightness, self.contrast, self.lumaflip, self.hue, self.saturation))

    def __call__(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Recolors `images` (N, 3, H, W), or gray ones (N, 1, H, W)."""
        channels = images.shape[1]
        if channels not in (1, 3):
            raise UserError(
                f"color augmentation is for images of 1 or 3 channels, these have {channels}; "
                "choose a pipe without color, such as bg"
            )
        matrix = self.matrix(draws, chroma=channels == 3)
        changed = (matrix != identity(len(matrix), 4, matrix.device)).any(2).any(1)
        return where_changed(changed, recolor, images, matrix)

    def matrix(self, draws: Draws, chroma: bool) -> torch.Tensor:
        """(N, 4, 4), in the paper's order. Hue and saturation leave gray as it is: `chroma` False skips them."""
        matrix = identity(draws.batch, 4, draws.p.device)
        if self.brightness:
            shift = draws.applied(draws.p * self.brightness, draws.normal(self.brightness_std), 0)
            matrix = compose(translate_colors(shift), matrix)
        if self.contrast:
            factor = draws.applied(draws.p * self.contrast, draws.log2_normal(self.contrast_std), 1)
            matrix = compose(around_gray(factor, gray=torch.zeros_like(factor)), matrix)
        if self.lumaflip:
            flip = draws.applied(draws.p * self.lumaflip, draws.integer(2), 0)
            matrix = compose(around_gray(torch.ones_like(flip), gray=-2 * flip), matrix)
        if self.hue and chroma:
            half_turns = draws.applied(draws.p * self.hue, draws.uniform(-self.hue_max, self.hue_max), 0)
            cos, sin = (half_turns * math.pi).cos(), (half_turns * math.pi).sin()
            matrix = compose(around_gray(cos, gray=1 - cos, cross=sin), matrix)  # Rodrigues' rotation formula
        if self.saturation and chroma:
            factor = draws.applied(draws.p * self.saturation, draws.log2_normal(self.saturation_std), 1)
            matrix = compose(around_gray(factor, gray=1 - factor), matrix)
        return matrix


def recolor(images: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Maps every pixel's color by `matrix` (N, 4, 4). A gray pixel is mapped as the color (g, g, g) and averaged."""
    rows = matrix[:, :3].to(images.dtype)
    if images.shape[1] == 1:
        rows = rows.mean(dim=1, keepdim=True)
        rows = torch.cat([rows[:, :, :3].sum(dim=2, keepdim=True), rows[:, :, 3:]], dim=2)
    pixels = images.flatten(2)
    return torch.baddbmm(rows[:, :, -1:], rows[:, :, :-1], pixels).unflatten(2, images.shape[2:])
