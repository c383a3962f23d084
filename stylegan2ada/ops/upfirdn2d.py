"""Upsample, FIR-filter and downsample 2-D images (StyleGAN2 paper, appendix B; the resampling of all its networks).

Shapes: x (N, C, H, W), filter f (fh, fw), or (taps,) for a separable one. The filter is a constant: only x is
differentiated, and because the operation is linear its derivative is the same operation, `up` and `down` exchanged.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from . import kernels as available
from .kernels import plain

IntPair = int | Sequence[int]


def setup_filter(
    taps: Sequence | torch.Tensor | float | None,
    device: torch.device | str = "cpu",
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> torch.Tensor:
    """Makes a float32 FIR filter of unit sum from its taps: (taps,) if separable, else (fh, fw).

    A 1-D filter of eight or more taps stays separable, a shorter one becomes its outer product (one pass is cheaper).
    """
    f = torch.as_tensor(1.0 if taps is None else taps, dtype=torch.float32)
    if f.ndim > 2 or f.numel() == 0:
        raise ValueError(f"a filter has one or two dimensions and at least one tap, got shape {tuple(f.shape)}")
    f = f.reshape(1) if f.ndim == 0 else f
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if f.ndim == 2 and separable:
        raise ValueError("a two-dimensional filter cannot be made separable")
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if normalize:
        f = f / f.sum()
    if flip_filter:
        f = f.flip(tuple(range(f.ndim)))
    return (f * gain ** (f.ndim / 2)).to(device)


def pair(value: IntPair) -> tuple[int, int]:
    """An int, or [x, y], as (x, y)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def four_sides(padding: IntPair) -> tuple[int, int, int, int]:
    """An int, [x, y] or [x0, x1, y0, y1] as (x0, x1, y0, y1)."""
    if isinstance(padding, int):
        return (padding,) * 4
    sides = tuple(int(p) for p in padding)
    return (sides[0], sides[0], sides[1], sides[1]) if len(sides) == 2 else sides


def filter_size(f: torch.Tensor | None) -> tuple[int, int]:
    """(width, height) in taps; None is the identity filter."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def upfirdn2d(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: IntPair = 1,
    down: IntPair = 1,
    padding: IntPair = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    kernels: str = "auto",
) -> torch.Tensor:
    """Inserts up-1 zeros after each pixel, pads (negative: crops), convolves with f * gain, keeps every down-th pixel.

    `flip_filter=False` is a true convolution, True a correlation. Differentiable any number of times with respect to x.
    `kernels`: see `stylegan2ada.ops.kernels.find`.
    """
    if f is not None and f.ndim == 1:
        row, column = f[None, :], f[:, None]
        (up_x, up_y), (down_x, down_y), (x0, x1, y0, y1) = pair(up), pair(down), four_sides(padding)
        x = _Upfirdn.apply(x, row, (up_x, 1), (down_x, 1), (x0, x1, 0, 0), flip_filter, gain, kernels)
        return _Upfirdn.apply(x, column, (1, up_y), (1, down_y), (0, 0, y0, y1), flip_filter, 1.0, kernels)
    if f is None:
        f = x.new_ones([1, 1], dtype=torch.float32)
    return _Upfirdn.apply(x, f, pair(up), pair(down), four_sides(padding), flip_filter, float(gain), kernels)


class _Upfirdn(torch.autograd.Function):
    """The linear map x -> y for a 2-D filter; its backward pass is the adjoint map, again an `_Upfirdn`."""

    @staticmethod
    def forward(x, f, up, down, padding, flip_filter, gain, kernels):
        run = available.find(kernels, x.device, x.dtype) or plain
        return run.fir(x, f, up, down, padding, flip_filter, gain)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, f, ctx.up, ctx.down, padding, ctx.flip_filter, ctx.gain, ctx.kernels = inputs
        ctx.save_for_backward(f)
        width, height = filter_size(f)
        left, right = _adjoint_padding(x.shape[3], output.shape[3], width, ctx.up[0], ctx.down[0], padding[0])
        top, bottom = _adjoint_padding(x.shape[2], output.shape[2], height, ctx.up[1], ctx.down[1], padding[2])
        ctx.padding = (left, right, top, bottom)

    @staticmethod
    def backward(ctx, dy):
        (f,) = ctx.saved_tensors
        dx = _Upfirdn.apply(dy, f, ctx.down, ctx.up, ctx.padding, not ctx.flip_filter, ctx.gain, ctx.kernels)
        return dx, *[None] * 7

    @staticmethod
    def vmap(info, in_dims, x, *constants):
        x = x.movedim(in_dims[0], 0)
        y = _Upfirdn.apply(x.flatten(0, 1), *constants)
        return y.unflatten(0, (x.shape[0], -1)), 0


def _adjoint_padding(in_size: int, out_size: int, taps: int, up: int, down: int, before: int) -> tuple[int, int]:
    """Padding (before, after) of the adjoint along one axis.

    y[m] = sum_t f[t] x_up[m*down + t - before], hence dx[i] = sum_s f[taps-1-s] dy_up[i + s - (taps-1-before)].
    """
    return taps - 1 - before, in_size * up - out_size * down + before - up + 1


def upfirdn2d_reference(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    """The definition, tap by tap in plain differentiable operations: the oracle of the tests, slow."""
    (up_x, up_y), (down_x, down_y) = pair(up), pair(down)
    f = x.new_ones([1, 1]) if f is None else f.to(x.dtype)
    f = torch.outer(f, f) if f.ndim == 1 else f
    f = f if flip_filter else f.flip([0, 1])
    spread = x.new_zeros([*x.shape[:2], x.shape[2] * up_y, x.shape[3] * up_x])
    spread[:, :, ::up_y, ::up_x] = x
    x = F.pad(spread, four_sides(padding))
    height, width = x.shape[2] - f.shape[0] + 1, x.shape[3] - f.shape[1] + 1
    y = sum(f[i, j] * x[:, :, i : i + height, j : j + width] for i in range(f.shape[0]) for j in range(f.shape[1]))
    return y[:, :, ::down_y, ::down_x] * gain
