"""Image-space corruptions (ADA paper, appendix B): additive noise ("noise") and cutout ("cutout")."""

from dataclasses import dataclass

import torch

from .draws import Draws


@dataclass(frozen=True)
class Noise:
    """Probability multiplier; `noise_std` is the scale of the half-normal strength, in units of the images."""

    noise: float
    noise_std: float

    def enabled(self) -> bool:
        return bool(self.noise)

    def __call__(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Adds white noise of a random strength to each of `images` (N, C, H, W)."""
        strength = draws.applied(draws.p * self.noise, draws.half_normal(self.noise_std), 0)
        return images + draws.white_noise(images) * strength.to(images.dtype)[:, None, None, None]


@dataclass(frozen=True)
class Cutout:
    """Probability multiplier; `cutout_size` is the side of the hole as a fraction of the image."""

    cutout: float
    cutout_size: float

    def enabled(self) -> bool:
        return bool(self.cutout)

    def __call__(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Sets a rectangle with a random center in each of `images` (N, C, H, W) to zero."""
        height, width = images.shape[2:]
        size = draws.applied(draws.p * self.cutout, torch.full_like(draws.uniform(0, 1), self.cutout_size), 0)
        center = draws.uniform(0, 1, 2)
        x = (torch.arange(width, device=images.device) + 0.5) / width
        y = (torch.arange(height, device=images.device) + 0.5) / height
        inside_x = (x - center[:, :1]).abs() < size[:, None] / 2  # (N, W)
        inside_y = (y - center[:, 1:]).abs() < size[:, None] / 2  # (N, H)
        hole = inside_y[:, None, :, None] & inside_x[:, None, None, :]
        return images.masked_fill(hole, 0)
