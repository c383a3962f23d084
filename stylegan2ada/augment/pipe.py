"""The augmentation pipeline of StyleGAN2-ADA (Karras et al. 2020, section 3 and appendix B)."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch

from stylegan2ada.dealing import DealerUser
from stylegan2ada.errors import UserError
from stylegan2ada.layers import KernelUser
from stylegan2ada.ops.upfirdn2d import setup_filter

from .color import Color
from .corruption import Cutout, Noise
from .draws import Draws
from .filtering import Filtering
from .geometry import Geometry
from .wavelets import SYM6, band_filters


class AugmentPipe(KernelUser, DealerUser):
    """Random, differentiable augmentations of the images that the discriminator sees.

    Each transform is applied to each image with the probability `multiplier * p`, p being the buffer that the ADA
    controller moves; p = 0 changes nothing. The first row of arguments are the multipliers, 0 (off) or more; the
    others are strengths, explained in the class of each group. Parameters are drawn anew for every image and call.

    Not for the inside of `torch.func.vmap`: the size of the padding depends on the draws. Augment the batch first.
    """

    __call__: Callable[..., torch.Tensor]  # for type checkers: that of nn.Module says Any
    p: torch.Tensor
    Hz_geom: torch.Tensor
    Hz_fbank: torch.Tensor

    def __init__(
        self,
        *,
        # Pixel blitting
        xflip: float = 0,
        rotate90: float = 0,
        xint: float = 0,
        xint_max: float = 0.125,
        # General geometry
        scale: float = 0,
        rotate: float = 0,
        aniso: float = 0,
        xfrac: float = 0,
        scale_std: float = 0.2,
        rotate_max: float = 1,
        aniso_std: float = 0.2,
        xfrac_std: float = 0.125,
        # Color
        brightness: float = 0,
        contrast: float = 0,
        lumaflip: float = 0,
        hue: float = 0,
        saturation: float = 0,
        brightness_std: float = 0.2,
        contrast_std: float = 0.5,
        hue_max: float = 1,
        saturation_std: float = 1,
        # Image-space filtering
        imgfilter: float = 0,
        imgfilter_bands: Sequence[float] = (1, 1, 1, 1),
        imgfilter_std: float = 1,
        # Image-space corruptions
        noise: float = 0,
        cutout: float = 0,
        noise_std: float = 0.1,
        cutout_size: float = 0.5,
    ):
        super().__init__()
        self.geometry = Geometry(
            xflip=xflip,
            rotate90=rotate90,
            xint=xint,
            scale=scale,
            rotate=rotate,
            aniso=aniso,
            xfrac=xfrac,
            xint_max=xint_max,
            scale_std=scale_std,
            rotate_max=rotate_max,
            aniso_std=aniso_std,
            xfrac_std=xfrac_std,
        )
        self.color = Color(
            brightness=brightness,
            contrast=contrast,
            lumaflip=lumaflip,
            hue=hue,
            saturation=saturation,
            brightness_std=brightness_std,
            contrast_std=contrast_std,
            hue_max=hue_max,
            saturation_std=saturation_std,
        )
        self.filtering = Filtering(
            imgfilter=imgfilter, imgfilter_bands=tuple(imgfilter_bands), imgfilter_std=imgfilter_std
        )
        self.noise = Noise(noise=noise, noise_std=noise_std)
        self.cutout = Cutout(cutout=cutout, cutout_size=cutout_size)
        for group in (self.geometry, self.color, self.filtering, self.noise, self.cutout):
            _check(group)

        self.register_buffer("p", torch.ones([]))
        self.register_buffer("Hz_geom", setup_filter(SYM6))
        self.register_buffer("Hz_fbank", band_filters())

    def forward(self, images: torch.Tensor, debug_percentile: float | None = None) -> torch.Tensor:
        """Augments float `images` (N, C, H, W) in [-1, 1]; the result has the same shape and is not clipped.

        Differentiable any number of times with respect to the images. `debug_percentile` q in (0, 1) replaces every
        draw but the noise by its q-quantile and applies all transforms that are on, whatever p.
        """
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(f"images are floats (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if debug_percentile is not None and not 0 < debug_percentile < 1:
            raise ValueError(f"debug_percentile lies between 0 and 1, got {debug_percentile}")
        draws = Draws(len(images), self.p, debug_percentile, self.dealer)
        if self.geometry.enabled():
            images = self.geometry(images, draws, self.Hz_geom, self.kernels)
        if self.color.enabled():
            images = self.color(images, draws)
        if self.filtering.enabled():
            images = self.filtering(images, draws, self.Hz_fbank)
        if self.noise.enabled():
            images = self.noise(images, draws)
        if self.cutout.enabled():
            images = self.cutout(images, draws)
        return images


def _check(group: Geometry | Color | Filtering | Noise | Cutout) -> None:
    for name, value in dataclasses.asdict(group).items():
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise UserError(f"augmentation setting {name}={value} must be finite and not negative")
    if isinstance(group, Filtering) and len(group.imgfilter_bands) != 4:
        raise UserError(f"augmentation setting imgfilter_bands={group.imgfilter_bands} needs 4 numbers, one per band")
