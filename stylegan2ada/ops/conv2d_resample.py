"""2-D convolution with FIR-filtered up- or downsampling (StyleGAN2 paper, appendix B)."""

import torch
import torch.nn.functional as F

from .convolution import convolve, convolve_transposed
from .upfirdn2d import IntPair, filter_size, four_sides, upfirdn2d


def conv2d_resample(
    x: torch.Tensor,
    w: torch.Tensor,
    f: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: IntPair = 0,
    groups: int = 1,
    flip_weight: bool = True,
    kernels: str = "auto",
) -> torch.Tensor:
    """Upsamples by `up`, convolves, downsamples by `down`, filtering with f where it resamples.

    x (N, C_in, H, W), w (C_out, C_in // groups, kh, kw), f from `setup_filter`. `padding` counts pixels of the
    upsampled image. `flip_weight=True` is a correlation (as torch's conv2d), False a convolution. Differentiable twice.
    w is rounded to x's type where they differ.
    """
    w = w.to(x.dtype)
    height, width = w.shape[2:]
    x0, x1, y0, y1 = resampling_padding(f, up, down, padding)

    if width == height == 1 and down > 1 and up == 1:  # fewer pixels first
        x = upfirdn2d(x, f, down=down, padding=(x0, x1, y0, y1), kernels=kernels)
        return _conv2d(x, w, groups=groups, flip_weight=flip_weight)
    if width == height == 1 and up > 1 and down == 1:
        x = _conv2d(x, w, groups=groups, flip_weight=flip_weight)
        return upfirdn2d(x, f, up=up, padding=(x0, x1, y0, y1), gain=up**2, kernels=kernels)
    if up > 1 and down == 1:
        # Zero insertion and convolution are one transposed convolution; the FIR filter commutes with it and comes last.
        x = _conv_transpose2d(x, w, up, groups, flip_weight)
        padding = (x0 - width + 1, x1 - width + up, y0 - height + 1, y1 - height + up)
        return upfirdn2d(x, f, padding=padding, gain=up**2, kernels=kernels)
    if down > 1 and up == 1:
        x = upfirdn2d(x, f, padding=(x0, x1, y0, y1), kernels=kernels)
        return _conv2d(x, w, stride=down, groups=groups, flip_weight=flip_weight)
    if up == 1 and down == 1:
        if x0 == x1 and y0 == y1 and min(x0, y0) >= 0:
            return _conv2d(x, w, padding=(y0, x0), groups=groups, flip_weight=flip_weight)
        x = upfirdn2d(x, None, padding=(x0, x1, y0, y1), kernels=kernels)
        return _conv2d(x, w, groups=groups, flip_weight=flip_weight)
    return conv2d_resample_reference(x, w, f, up, down, padding, groups, flip_weight)


def conv2d_resample_reference(x, w, f=None, up=1, down=1, padding=0, groups=1, flip_weight=True):
    """The definition, step by step: upsample with f, convolve, downsample with f. The oracle of the tests."""
    sides = resampling_padding(f, up, down, padding)
    x = upfirdn2d(x, f if up > 1 else None, up=up, padding=sides, gain=up**2)
    x = _conv2d(x, w, groups=groups, flip_weight=flip_weight)
    return x if down == 1 else upfirdn2d(x, f, down=down)


def resampling_padding(f: torch.Tensor | None, up: int, down: int, padding: IntPair) -> tuple[int, int, int, int]:
    """The sides (x0, x1, y0, y1) that keep the image centred once the filter's own taps are counted in."""
    sides = list(four_sides(padding))
    for axis, taps in enumerate(filter_size(f)):
        if up > 1:
            sides[2 * axis] += (taps + up - 1) // 2
            sides[2 * axis + 1] += (taps - up) // 2
        if down > 1:
            sides[2 * axis] += (taps - down + 1) // 2
            sides[2 * axis + 1] += (taps - down) // 2
    return tuple(sides)


def _conv2d(x, w, stride=1, padding=(0, 0), groups=1, flip_weight=True):
    w = w if flip_weight or w.shape[2:] == (1, 1) else w.flip([2, 3])
    if groups > 1:
        return F.conv2d(x, w, stride=stride, padding=padding, groups=groups)
    return convolve(x, w, stride, padding)


def _conv_transpose2d(x, w, stride, groups, flip_weight):
    """w (C_out, C_in // groups, kh, kw) as in `_conv2d`; a transpose wants (C_in, C_out // groups, kh, kw), flipped."""
    w = w.flip([2, 3]) if flip_weight else w
    if groups == 1:
        return convolve_transposed(x, w.transpose(0, 1), stride)
    out_channels, in_per_group, height, width = w.shape
    w = w.reshape(groups, out_channels // groups, in_per_group, height, width).transpose(1, 2)
    w = w.reshape(groups * in_per_group, out_channels // groups, height, width)
    return F.conv_transpose2d(x, w, stride=stride, groups=groups)
