"""2-D convolution, its transpose and its weight gradient: three bilinear Functions, each the others' derivative.

torch's own convolution differentiates twice as well, but slowly: its second derivative convolves whole images with
whole images. Here every derivative of any order is one of the same three operations, in the fast layout, and none is
computed that nobody asked for.

x (N, I, H, W), y (N, O, H', W'), w (O, I, kh, kw), of one type. Fastest where all are channels-last in memory.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F


def convolve(x: torch.Tensor, w: torch.Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """Cross-correlation of x (N, I, H, W) with w (O, I, kh, kw); `padding` is (vertical, horizontal) zeros per side."""
    size = [(n + 2 * p - taps) // stride + 1 for n, p, taps in zip(x.shape[2:], padding, w.shape[2:], strict=True)]
    gate = _gate(x, w, stride, padding, [x.shape[0], w.shape[0], *size], transposed=False)
    return _Convolve.apply(x, w, gate, stride, padding)


def convolve_transposed(x: torch.Tensor, w: torch.Tensor, stride: int) -> torch.Tensor:
    """Each pixel of x (N, O, H, W) spreads w (O, I, kh, kw) into (N, I, (H-1)*stride + kh, (W-1)*stride + kw)."""
    size = tuple((pixels - 1) * stride + taps for pixels, taps in zip(x.shape[2:], w.shape[2:], strict=True))
    gate = _gate(x, w, stride, (0, 0), [x.shape[0], w.shape[1], *size], transposed=True)
    return _Spread.apply(x, w, gate, stride, (0, 0), size)


class _Held(NamedTuple):
    """Keeps a tensor out of a Function's inputs, hence off the paths that a backward pass follows."""

    tensor: torch.Tensor


def _gate(x, w, stride, padding, shape, transposed: bool) -> torch.Tensor | None:
    """A zero of the result's `shape` through which the gradient flows that w is due.

    A Function computes the gradients of all its inputs, asked for or not: R1 and path lengths, which differentiate by
    images and latents, would pay for the weights as well. The gate makes the weight's gradient a node of its own, which
    autograd visits only where it leads somewhere. Function transforms (vmap) do without.
    """
    if not (w.requires_grad and torch.is_grad_enabled()) or torch._C._are_functorch_transforms_active():
        return None
    return _Gate.apply(w, _Held(x), stride, padding, shape, transposed)


class _Gate(torch.autograd.Function):
    """w -> zeros; the gradient of the zeros is that of a convolution's result, from which w's is computed."""

    @staticmethod
    def forward(w, held, stride, padding, shape, transposed):
        return held.tensor.new_zeros([]).expand(shape)

    @staticmethod
    def setup_context(ctx, inputs, output):
        w, held, ctx.stride, ctx.padding, _, ctx.transposed = inputs
        ctx.shape = tuple(w.shape)
        ctx.save_for_backward(held.tensor)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        pair = (x, dy) if ctx.transposed else (dy, x)
        return _Correlate.apply(*pair, ctx.stride, ctx.padding, ctx.shape), *[None] * 5


class _Convolve(torch.autograd.Function):
    """(x, w) -> y. With a gate, w's gradient goes through it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, w, gate, stride, padding):
        if _is_pointwise(w, stride, padding):
            return _per_pixel(x, w.flatten(1).t())
        return F.conv2d(x, w, stride=stride, padding=padding)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, gate, ctx.stride, ctx.padding = inputs
        ctx.has_gate = gate is not None
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _Spread.apply(dy, w, None, ctx.stride, ctx.padding, tuple(x.shape[2:]))
        if ctx.needs_input_grad[1] and not ctx.has_gate:
            dw = _Correlate.apply(dy, x, ctx.stride, ctx.padding, tuple(w.shape))
        return dx, dw, dy if ctx.has_gate else None, None, None


class _Spread(torch.autograd.Function):
    """(dy, w) -> dx of `size` (H, W): the transpose of `_Convolve` in x. With a gate, w's gradient goes through it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(dy, w, gate, stride, padding, size):
        if _is_pointwise(w, stride, padding):
            return _per_pixel(dy, w.flatten(1))
        dx = _unwritten(dy, [dy.shape[0], w.shape[1], *size])
        return _convolution_backward(dy, dx, w, stride, padding, wanted=0)

    @staticmethod
    def setup_context(ctx, inputs, output):
        dy, w, gate, ctx.stride, ctx.padding, _ = inputs
        ctx.has_gate = gate is not None
        ctx.save_for_backward(dy, w)

    @staticmethod
    def backward(ctx, ddx):
        dy, w = ctx.saved_tensors
        ddy = dw = None
        if ctx.needs_input_grad[0]:
            ddy = _Convolve.apply(ddx, w, None, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1] and not ctx.has_gate:
            dw = _Correlate.apply(dy, ddx, ctx.stride, ctx.padding, tuple(w.shape))
        return ddy, dw, ddx if ctx.has_gate else None, None, None, None


class _Correlate(torch.autograd.Function):
    """(dy, x) -> dw of `shape` (O, I, kh, kw)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(dy, x, stride, padding, shape):
        if shape[2:] == (1, 1) and stride == 1 and padding == (0, 0):
            return (_pixels(dy).t() @ _pixels(x)).reshape(shape)
        if x.device.type == "cpu" and x.dtype == torch.float32:  # oneDNN: up to four times as fast in this layout
            return _convolution_backward(dy.contiguous(), x.contiguous(), x.new_empty(shape), stride, padding, wanted=1)
        return _convolution_backward(dy, x, _unwritten(x, shape), stride, padding, wanted=1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        dy, x, ctx.stride, ctx.padding, _ = inputs
        ctx.save_for_backward(dy, x)

    @staticmethod
    def backward(ctx, ddw):
        dy, x = ctx.saved_tensors
        ddy = dx = None
        if ctx.needs_input_grad[0]:
            ddy = _Convolve.apply(x, ddw, None, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            dx = _Spread.apply(dy, ddw, None, ctx.stride, ctx.padding, tuple(x.shape[2:]))
        return ddy, dx, None, None, None


def _convolution_backward(dy, x, w, stride, padding, wanted: int) -> torch.Tensor:
    """torch's kernels for the gradient by x (`wanted` 0) or by w (1)."""
    mask = [wanted == 0, wanted == 1, False]
    gradients = torch.ops.aten.convolution_backward(
        dy, x, w, None, [stride, stride], list(padding), [1, 1], False, [0, 0], 1, mask
    )
    return gradients[wanted]


def _is_pointwise(w: torch.Tensor, stride: int, padding: tuple[int, int]) -> bool:
    return w.shape[2:] == (1, 1) and stride == 1 and padding == (0, 0)


def _per_pixel(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """The channels of every pixel times `matrix` (in, out): a 1x1 convolution, also fast for one or three channels."""
    batch, _, height, width = x.shape
    pixels = _pixels(x)
    # Matrix libraries are slow at products over a single number: oneDNN in float32, cuBLAS in all types.
    outer = len(matrix) == 1 and (x.dtype == torch.float32 or x.is_cuda)
    y = pixels * matrix if outer else pixels @ matrix
    return y.reshape(batch, height, width, matrix.shape[1]).permute(0, 3, 1, 2)


def _pixels(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) as (N*H*W, C): a view where x is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _unwritten(like: torch.Tensor, shape: list[int] | tuple[int, ...]) -> torch.Tensor:
    """A channels-last tensor of which only shape and layout are read; `memory_format=` is unknown to vmap."""
    batch, channels, height, width = shape
    return like.new_empty([batch, height, width, channels]).permute(0, 3, 1, 2)
