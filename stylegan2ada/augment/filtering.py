"""Image-space filtering (ADA paper, appendix B, "filter"): each octave of the spectrum is amplified at random."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .batch import where_changed
from .draws import Draws

# Expected power of the four bands in natural images, lowest first. An amplified spectrum keeps its total.
BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


@dataclass(frozen=True)
class Filtering:
    """Probability multiplier; a further one per band, lowest first; standard deviation of the gains in octaves."""

    imgfilter: float
    imgfilter_bands: tuple[float, ...]
    imgfilter_std: float

    def enabled(self) -> bool:
        return bool(self.imgfilter) and any(self.imgfilter_bands)

    def __call__(self, images: torch.Tensor, draws: Draws, bands: torch.Tensor) -> torch.Tensor:
        """Filters `images` (N, C, H, W) with a mixture of `bands` (4, taps)."""
        gains = self.gains(draws)
        changed = (gains != 1).any(1)
        taps = (gains[:, :, None] * bands).sum(1)
        return where_changed(changed, filter_rows_and_columns, images, taps)

    def gains(self, draws: Draws) -> torch.Tensor:
        """(N, 4) amplitude of each band: the product of four independent amplifications of one band each."""
        gains = torch.ones([draws.batch, 4], device=draws.p.device)
        for band, multiplier in enumerate(self.imgfilter_bands):
            if not multiplier:
                continue
            one = draws.applied(draws.p * (self.imgfilter * multiplier), draws.log2_normal(self.imgfilter_std), 1)
            power = 1 + BAND_POWER[band] * (one.square() - 1)
            amplified = (torch.arange(4, device=one.device) == band) * (one[:, None] - 1) + 1
            gains = gains * amplified / power.sqrt()[:, None]
        return gains


def filter_rows_and_columns(images: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Filters rows and columns of image i with taps[i] (N, odd number of taps), reflecting at the borders."""
    batch, channels, height, width = images.shape
    side = taps.shape[1] // 2
    weight = taps.to(images.dtype).repeat_interleave(channels, dim=0)[:, None, None]  # (N*C, 1, 1, taps)
    groups = batch * channels
    images = reflect(images, side).reshape(1, groups, height + 2 * side, width + 2 * side)
    images = F.conv2d(images, weight, groups=groups)
    images = F.conv2d(images, weight.transpose(2, 3), groups=groups)
    return images.reshape(batch, channels, height, width)


def reflect(images: torch.Tensor, side: int) -> torch.Tensor:
    """Reflection padding of `side` px all around, also beyond the size of the image (in steps of one reflection)."""
    while side > 0:
        step = min(side, min(images.shape[2:]) - 1)
        images = F.pad(images, [step] * 4, mode="reflect")
        side -= step
    return images
