"""What ends every layer: scale per image and channel, noise, bias, leaky ReLU, gain and clamp, in one pass over memory.

The first derivative is one pass as well (all sums included), and is a Function of its own, whose derivative is made of
the same pass: the leaky ReLU and the clamp are masks, read off the result. Without noise, bias and activation it is the
modulation of a convolution's input.
"""

import torch

from . import kernels as available
from .kernels import plain


def scale_bias_act(
    x: torch.Tensor,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    slope: float = 1.0,
    gain: float = 1.0,
    clamp: float | None = None,
    kernels: str = "auto",
) -> torch.Tensor:
    """clamp(lrelu(x * scale + noise + bias, slope) * gain, -clamp, clamp), of x's type.

    x (N, C, H, W) or (N, C); scale (N, C), noise (N or 1, 1, H, W), bias (C,) or None; slope 1 is linear, 0 ReLU;
    gain above 0; clamp None: no limit. `kernels`: see `stylegan2ada.ops.kernels.find`. Differentiable twice.
    """
    return _Epilogue.apply(x, scale, noise, bias, float(slope), float(gain), clamp, kernels)


def modulate(x: torch.Tensor, styles: torch.Tensor, kernels: str = "auto") -> torch.Tensor:
    """x (N, C, H, W) times styles (N, C)."""
    return _Epilogue.apply(x, styles, None, None, 1.0, 1.0, None, kernels)


class _Epilogue(torch.autograd.Function):
    @staticmethod
    def forward(x, scale, noise, bias, slope, gain, clamp, kernels):
        run = available.find(kernels, x.device, x.dtype) or plain
        return run.epilogue(x, scale, noise, bias, slope, gain, clamp)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, scale, noise, bias, *ctx.settings = inputs
        slope, _, clamp, _ = ctx.settings
        masked = slope != 1 or clamp is not None
        ctx.save_for_backward(None if scale is None else x, scale, output if masked else None)
        ctx.noise_shape = None if noise is None else noise.shape
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (scale, noise, bias)]

    @staticmethod
    def backward(ctx, dy):
        x, scale, y = ctx.saved_tensors
        wanted = tuple(ctx.needs_input_grad[1:4])
        dx, dscale, dnoise, dbias = _EpilogueGradient.apply(dy, x, scale, y, *ctx.settings, wanted)
        if dnoise is not None and ctx.noise_shape[0] < dnoise.shape[0]:
            dnoise = dnoise.sum(0, keepdim=True)
        gradients = [None if d is None else d.to(t) for d, t in zip((dscale, dnoise, dbias), ctx.dtypes, strict=True)]
        return dx, *gradients, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return torch.vmap(plain.epilogue, in_dims[:-1])(*inputs[:-1]), 0


class _EpilogueGradient(torch.autograd.Function):
    """(dy; x, scale; y for the mask) -> (dx, dscale, dnoise, dbias); bilinear in dy and (x, scale)."""

    @staticmethod
    def forward(dy, x, scale, y, slope, gain, clamp, kernels, wanted):
        run = available.find(kernels, dy.device, dy.dtype) or plain
        return _gradient(run, dy, x, scale, y, slope, gain, clamp, wanted)

    @staticmethod
    def setup_context(ctx, inputs, output):
        dy, x, scale, y, *ctx.settings, _ = inputs
        ctx.save_for_backward(dy, x, scale, y)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, ddx, ddscale, ddnoise, ddbias):
        dy, x, scale, y = ctx.saved_tensors
        unmasked = None
        if ctx.needs_input_grad[0]:
            unmasked = _sum(
                None if ddx is None or scale is None else modulate(ddx, scale, ctx.settings[3]),
                ddx if scale is None else None,
                None if ddscale is None else modulate(x, ddscale, ctx.settings[3]),
                None if ddnoise is None else ddnoise.to(dy.dtype),
                None if ddbias is None else ddbias.to(dy.dtype).reshape(-1, *[1] * (dy.ndim - 2)),
            )
        ddy = None if unmasked is None else _masked(unmasked.expand_as(dy), y, ctx.settings)
        dx = dscale = None
        if scale is not None and any(ctx.needs_input_grad[1:3]):
            g = _masked(dy, y, ctx.settings)
            if ctx.needs_input_grad[1] and ddscale is not None:
                dx = modulate(g, ddscale, ctx.settings[3])
            if ctx.needs_input_grad[2] and ddx is not None:
                dscale = plain.sum_of_pixels(g * ddx, scale.dtype)
        return ddy, dx, dscale, *[None] * 6

    @staticmethod
    def vmap(info, in_dims, dy, x, scale, y, slope, gain, clamp, kernels, wanted):
        present = [True, *wanted]

        def single(*tensors):
            results = _gradient(plain, *tensors, slope, gain, clamp, wanted)
            return tuple(result for result in results if result is not None)

        results = iter(torch.vmap(single, in_dims[:4])(dy, x, scale, y))
        results = tuple(next(results) if here else None for here in present)
        return results, tuple(0 if here else None for here in present)


def _gradient(run, dy, x, scale, y, slope, gain, clamp, wanted):
    want_scale, want_noise, want_bias = wanted
    dx, dscale, dbias, dnoise = run.epilogue_backward(
        dy, y, x, scale, slope, gain, clamp, want_scale, want_bias, want_noise
    )
    return dx, dscale, dnoise, dbias


def _masked(dy: torch.Tensor, y: torch.Tensor | None, settings: list) -> torch.Tensor:
    """dy times the derivative of activation, gain and clamp."""
    return _EpilogueGradient.apply(dy, None, None, y, *settings, (False, False, False))[0]


def _sum(*terms: torch.Tensor | None) -> torch.Tensor | None:
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total
