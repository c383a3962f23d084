"""Features of images whose squared differences say how different two images look.

`Features` maps float (N,C,H,W) in [-1, 1] to (N,D), differentiably; the distance of two images is the sum of the
squared differences of their features.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from .errors import UserError
from .images import to_byte_range

Features = Callable[[torch.Tensor], torch.Tensor]

VGG16_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/vgg16.pt"
_COARSEST_PX = 8
_VGG_SIDE_PX = 256  # larger images are reduced to it, as the StyleGAN2 paper does (appendix D)


def distance(features_a: torch.Tensor, features_b: torch.Tensor) -> torch.Tensor:
    """(N,D) features of images to (N,) distances."""
    return (features_a - features_b).square().sum(dim=1)


def pixel_pyramid(images: torch.Tensor) -> torch.Tensor:
    """Pixels, and means of blocks of 2x2, 4x4, ... pixels down to 8x8: every scale counts as much.

    Needs no network. The distance is the mean over the scales of the mean squared difference, at most 4.
    """
    levels = [images]
    while levels[-1].shape[-1] > _COARSEST_PX:
        levels.append(functional.avg_pool2d(levels[-1], 2))
    scaled = [level.flatten(1) / (level[0].numel() * len(levels)) ** 0.5 for level in levels]
    return torch.cat(scaled, dim=1)


def normalised_maps(maps: list[torch.Tensor]) -> torch.Tensor:
    """Activations (N,C,h,w) of several depths to (N,D), as LPIPS compares them (Zhang et al. 2018, equation 1).

    Each position's channels have unit length, and a depth counts by the mean over its positions.
    """
    parts = []
    for features in maps:
        unit = features / (features.square().sum(dim=1, keepdim=True) + 1e-10).sqrt()
        parts.append(unit.flatten(1) / unit[0, 0].numel() ** 0.5)
    return torch.cat(parts, dim=1)


def load_vgg16(path: str | os.PathLike, device: torch.device, side_px: int = 64) -> Features:
    """LPIPS features of the official `vgg16.pt`, a TorchScript file, for images of `side_px`.

    TorchScript is a program: it runs in torch's interpreter, which has no access to Python but can write files, and it
    comes from somebody else. So the file is opened only where a user names it, and never fetched.

    Raises:
        UserError: the file is missing, no TorchScript, or another network.
    """
    if "://" in str(path) or not Path(path).is_file():
        raise UserError(f"--vgg {path}: there is no such file; fetch {VGG16_URL} and give the path of the copy")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer torch has other formats, this file has not
            network = torch.jit.load(path, map_location=device).eval()
        found = _vgg_features(network, torch.zeros(1, 3, side_px, side_px, device=device, requires_grad=True))
    except (RuntimeError, torch.jit.Error, ValueError, TypeError, AttributeError) as error:
        message = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise UserError(f"--vgg {path} is not the official vgg16.pt: {message}; fetch {VGG16_URL}") from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or not found.requires_grad:
        message = "it gives no (N, D) features with gradients"
        raise UserError(f"--vgg {path} is not the official vgg16.pt: {message}; fetch {VGG16_URL}")
    return lambda images: _vgg_features(network, images)


def _vgg_features(network: torch.jit.ScriptModule, images: torch.Tensor) -> torch.Tensor:
    if images.shape[-1] > _VGG_SIDE_PX:
        images = functional.interpolate(images, size=(_VGG_SIDE_PX, _VGG_SIDE_PX), mode="area")
    return network(to_byte_range(images).expand(-1, 3, -1, -1), resize_images=False, return_lpips=True)
