"""Affine warps with little aliasing (ADA paper, appendix B): reflect at the borders, upsample 2x with an
orthogonal low-pass filter, sample bilinearly, downsample with the same filter, crop.

Positions are pixels around the image center.
"""

import math

import torch
import torch.nn.functional as F

from stylegan2ada.ops.grid_sample import grid_sample
from stylegan2ada.ops.upfirdn2d import upfirdn2d

# sym6 is not symmetric: it puts an upsampled image about half an upsampled pixel towards the origin.
FILTER_SHIFT_PX = -0.25


def warp(
    images: torch.Tensor,
    inverse: torch.Tensor,
    taps: torch.Tensor,
    kernels: str = "auto",
    batch_inverse: torch.Tensor | None = None,
) -> torch.Tensor:
    """Moves image i (of (N, C, H, W)) by the affine map whose inverse is `inverse` (N, 3, 3); `taps`: even length.

    The images are padded as far as the maps look on the CPU, and as far as one reflection goes elsewhere: tensors whose
    size depends on the draws would make the host wait for the device, and could be part of no CUDA graph. Both give the
    same samples to 5e-4: at the rim of the smaller padding the smallest tap of the filter is missing. So where the
    images are part of a batch, all its maps, `batch_inverse` (batch, 3, 3), say how far that is.
    """
    height, width = images.shape[2:]
    if images.device.type == "cpu":
        looks = inverse if batch_inverse is None else batch_inverse
        padding = padding_px(looks, height, width, 2 * _reach_px(taps))
    else:
        padding = (width - 1, width - 1, height - 1, height - 1)
    return warp_padded(images, inverse, taps, padding, kernels)


def warp_padded(
    images: torch.Tensor,
    inverse: torch.Tensor,
    taps: torch.Tensor,
    padding: tuple[int, int, int, int],
    kernels: str = "auto",
) -> torch.Tensor:
    """`warp` with the padding given: px (left, right, top, bottom), each less than the size of the image."""
    height, width = images.shape[2:]
    reach = _reach_px(taps)
    left, right, top, bottom = padding
    images = F.pad(images, [left, right, top, bottom], mode="reflect")
    center = ((left - right) / 2, (top - bottom) / 2)

    even = len(taps) // 2
    planes = upfirdn2d(_planes(images), taps, up=2, padding=[even, even - 1, even, even - 1], gain=4, kernels=kernels)
    images = _images(planes, len(images))
    grid = sampling_grid(inverse, (height + 2 * reach, width + 2 * reach), images.shape[2:], center)
    images = grid_sample(images, grid.to(images.dtype))
    crop = even - 1 - 2 * reach
    planes = upfirdn2d(_planes(images), taps, down=2, padding=crop, flip_filter=True, kernels=kernels)
    return _images(planes, len(images))


def _reach_px(taps: torch.Tensor) -> int:
    """How far beyond the border of the output the downsampling filter sees."""
    return len(taps) // 4


def _planes(images: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) as one image of N*C channels: filtering many images of 1 or 3 channels is many times slower."""
    return images.flatten(0, 1)[None]


def _images(planes: torch.Tensor, batch: int) -> torch.Tensor:
    return planes[0].unflatten(0, (batch, -1))


def padding_px(inverse: torch.Tensor, height: int, width: int, extra: int) -> tuple[int, int, int, int]:
    """(left, right, top, bottom): how far beyond the images their warps look, at most one reflection.

    This decides the size of tensors, so it would wait for a device other than the CPU.
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = inverse.new_tensor([[-x, -y, 1], [x, -y, 1], [x, y, 1], [-x, y, 1]])
    seen = (inverse[:, None, :2, :] * corners[None, :, None, :]).sum(-1)  # (N, 4 corners, xy)
    (x_min, y_min), (x_max, y_max) = torch.stack([seen.amin((0, 1)), seen.amax((0, 1))]).tolist()

    def limited(beyond: float, size: int) -> int:
        return min(max(math.ceil(beyond + extra), 0), size - 1)

    return (
        limited(-x_min - x, width),
        limited(x_max - x, width),
        limited(-y_min - y, height),
        limited(y_max - y, height),
    )


def sampling_grid(
    inverse: torch.Tensor,
    view_px: tuple[int, int],
    source_size: tuple[int, int],
    center: tuple[float, float],
) -> torch.Tensor:
    """(N, 2H', 2W', 2) positions for `grid_sample`: where each half pixel of the view looks in the source.

    `view_px` (H', W') is the size of the output in px, `source_size` that of the source in half pixels, and `center`
    the position (x, y) in px, from the middle of the source, of the center of the image.
    """
    height, width = view_px
    x = (torch.arange(2 * width, device=inverse.device) + 0.5) / 2 - width / 2 - FILTER_SHIFT_PX
    y = (torch.arange(2 * height, device=inverse.device) + 0.5) / 2 - height / 2 - FILTER_SHIFT_PX
    a, b, c = (inverse[:, None, None, :2, column] for column in range(3))  # (N, 1, 1, xy)
    seen = a * x[None, None, :, None] + (b * y[None, :, None, None] + c) + FILTER_SHIFT_PX
    half_size = [s / 4 for s in reversed(source_size)]  # in px, (x, y)
    return torch.stack([(seen[..., i] + center[i]) / half_size[i] for i in range(2)], dim=-1)
