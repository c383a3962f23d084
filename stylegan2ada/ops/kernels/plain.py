"""The three kernels in plain torch operators: for devices and types without fused ones, and for `vmap`.

Their meaning is that of the fused kernels; nothing here is meant to be differentiated by autograd (see `ops`).
"""

import torch
import torch.nn.functional as F


def fir(x, f, up, down, padding, flip_filter, gain):
    """Zero insertion, padding, depthwise convolution with f * gain, decimation: see `ops.upfirdn2d`."""
    channels = x.shape[1]
    x = _insert_zeros(x, up)
    left, right, top, bottom = padding
    both_sides = (top, left) if left == right and top == bottom and min(left, top) >= 0 else None
    if both_sides is None:
        x = F.pad(x, padding)
    f = (f if flip_filter else f.flip([0, 1])).to(x.dtype) * gain
    weight = f.expand(channels, 1, *f.shape).contiguous()
    return F.conv2d(x, weight, stride=(down[1], down[0]), padding=both_sides or 0, groups=channels)


def epilogue(x, scale, noise, bias, slope, gain, clamp):
    """clamp(lrelu(x * scale + noise + bias, slope) * gain): the gain, being positive, moves inside."""
    if scale is None:
        y = x * gain if bias is None else torch.add(_per_channel(bias, x) * gain, x, alpha=gain)
    else:
        y = x * _per_image(scale * gain, x)
        y = y if bias is None else y + _per_channel(bias, x) * gain
    if noise is not None:
        y = y + noise.to(x.dtype) * gain
    y = y if slope == 1 else F.leaky_relu(y, slope)
    return y if clamp is None else y.clamp(-clamp, clamp)


def epilogue_backward(dy, y, x, scale, slope, gain, clamp, want_scale, want_bias, want_noise):
    """(dx, dscale, dbias, dnoise) of `epilogue`, from its result y; those not wanted are None."""
    g = dy * gain
    if slope != 1:
        g = torch.where(y > 0, g, g * slope)
    if clamp is not None:
        g = torch.where(y.abs() >= clamp, 0, g)  # a NaN in y lets dy through
    wide = torch.promote_types(dy.dtype, torch.float32)
    dscale = sum_of_pixels(g * x, wide) if want_scale else None
    dbias = g.sum([0, *range(2, g.ndim)], dtype=wide) if want_bias else None
    dnoise = g.sum(1, keepdim=True, dtype=wide) if want_noise else None
    return g if scale is None else g * _per_image(scale, g), dscale, dbias, dnoise


def sum_of_pixels(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(N, C, ...) to (N, C) of `dtype`; torch takes an empty list of dimensions for all of them."""
    return x.sum(list(range(2, x.ndim)), dtype=dtype) if x.ndim > 2 else x.to(dtype)


def _per_channel(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(C,) shaped and typed to broadcast over x (N, C, ...)."""
    return values.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))


def _per_image(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(N, C) shaped and typed to broadcast over x (N, C, ...)."""
    return values.to(x.dtype).reshape(*values.shape, *[1] * (x.ndim - 2))


def _insert_zeros(x: torch.Tensor, up: tuple[int, int]) -> torch.Tensor:
    """(N,C,H,W) to (N, C, H*up_y, W*up_x), each pixel followed by zeros; the memory format stays."""
    if up == (1, 1):
        return x
    up_x, up_y = up
    batch, channels, height, width = x.shape
    if channels > 1 and x.stride(1) == 1:  # channels last; vmap cannot be asked for the memory format
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height, 1, width, 1, channels)
        pixels = F.pad(pixels, (0, 0, 0, up_x - 1, 0, 0, 0, up_y - 1))
        return pixels.reshape(batch, height * up_y, width * up_x, channels).permute(0, 3, 1, 2)
    pixels = F.pad(x.reshape(batch, channels, height, 1, width, 1), (0, up_x - 1, 0, 0, 0, up_y - 1))
    return pixels.reshape(batch, channels, height * up_y, width * up_x)
