"""Pixel blitting and general geometric transformations (ADA paper, appendix B, "blit" and "geom").

All transforms of an image compose to one affine map of the plane, in pixels around the image center, x to the right
and y down. What is built here is its inverse: output position -> input position.
"""

import math
from dataclasses import dataclass

import torch

from .batch import where_changed
from .draws import Draws
from .matrices import compose, identity, rotate_2d, scale_2d, translate_2d
from .warp import warp


@dataclass(frozen=True)
class Geometry:
    """Probability multipliers, then strengths: `*_max` of the uniform draws, `*_std` of the normal ones.

    `scale_std` and `aniso_std` are in octaves (log2), `rotate_max` in half turns, `xint_max` and `xfrac_std` in
    fractions of the image size.
    """

    xflip: float
    rotate90: float
    xint: float
    scale: float
    rotate: float
    aniso: float
    xfrac: float
    xint_max: float
    scale_std: float
    rotate_max: float
    aniso_std: float
    xfrac_std: float

    def enabled(self) -> bool:
        return any((self.xflip, self.rotate90, self.xint, self.scale, self.rotate, self.aniso, self.xfrac))

    def __call__(self, images: torch.Tensor, draws: Draws, taps: torch.Tensor, kernels: str = "auto") -> torch.Tensor:
        """Transforms `images` (N, C, H, W); `taps` is the resampling filter, `kernels` as in `ops`."""
        of_batch = self.inverse(draws.of_batch(), *images.shape[2:])
        changed = (of_batch != identity(len(of_batch), 3, of_batch.device)).any(2).any(1)

        def transform(some: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
            return warp(some, inverse, taps, kernels, of_batch)

        return where_changed(draws.own(changed), transform, images, draws.own(of_batch))

    def inverse(self, draws: Draws, height: int, width: int) -> torch.Tensor:
        """(N, 3, 3) maps from output to input positions. The order is the paper's: blitting first, shift last."""
        inverse = identity(draws.batch, 3, draws.p.device)
        if self.xflip:
            flip = draws.applied(draws.p * self.xflip, draws.integer(2), 0)
            inverse = compose(inverse, scale_2d(1 - 2 * flip, 1))
        if self.rotate90:
            quarters = draws.applied(draws.p * self.rotate90, draws.integer(4), 0)
            inverse = compose(inverse, rotate_2d(quarters * (math.pi / 2)))
        if self.xint:
            shift = draws.applied(draws.p * self.xint, draws.uniform(-self.xint_max, self.xint_max, 2), 0)
            inverse = compose(inverse, _shift_back((shift[:, 0] * width).round(), (shift[:, 1] * height).round()))
        if self.scale:
            factor = draws.applied(draws.p * self.scale, draws.log2_normal(self.scale_std), 1)
            inverse = compose(inverse, scale_2d(1 / factor, 1 / factor))
        if self.rotate:
            inverse = compose(inverse, self._rotation(draws))
        if self.aniso:
            factor = draws.applied(draws.p * self.aniso, draws.log2_normal(self.aniso_std), 1)
            inverse = compose(inverse, scale_2d(1 / factor, factor))
        if self.rotate and draws.percentile is None:  # a quantile is one rotation, not the same one twice
            inverse = compose(inverse, self._rotation(draws))
        if self.xfrac:
            shift = draws.applied(draws.p * self.xfrac, draws.normal(self.xfrac_std, 2), 0)
            inverse = compose(inverse, _shift_back(shift[:, 0] * width, shift[:, 1] * height))
        return inverse

    def _rotation(self, draws: Draws) -> torch.Tensor:
        """One of the two rotations. Their probabilities are such that at least one happens with rotate * p."""
        once = 1 - (1 - (draws.p * self.rotate).clamp(0, 1)).sqrt()
        half_turns = draws.applied(once, draws.uniform(-self.rotate_max, self.rotate_max), 0)
        return rotate_2d(half_turns * math.pi)


def _shift_back(x_px: torch.Tensor, y_px: torch.Tensor) -> torch.Tensor:
    return translate_2d(-x_px, -y_px)
