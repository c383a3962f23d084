"""Bias, activation, gain and clamp in one operation (StyleGAN2: every layer ends with it)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F


class Activation(NamedTuple):
    """`function(x, alpha)`, its default alpha, and the gain that keeps unit variance."""

    function: Callable[[torch.Tensor, float], torch.Tensor]
    alpha: float
    gain: float


ACTIVATIONS = {
    "linear": Activation(lambda x, alpha: x, 0.0, 1.0),
    "relu": Activation(lambda x, alpha: F.relu(x), 0.0, math.sqrt(2)),
    "lrelu": Activation(lambda x, alpha: F.leaky_relu(x, alpha), 0.2, math.sqrt(2)),
    "tanh": Activation(lambda x, alpha: torch.tanh(x), 0.0, 1.0),
    "sigmoid": Activation(lambda x, alpha: torch.sigmoid(x), 0.0, 1.0),
    "elu": Activation(lambda x, alpha: F.elu(x), 0.0, 1.0),
    "selu": Activation(lambda x, alpha: F.selu(x), 0.0, 1.0),
    "softplus": Activation(lambda x, alpha: F.softplus(x), 0.0, 1.0),
    "swish": Activation(lambda x, alpha: torch.sigmoid(x) * x, 0.0, math.sqrt(2)),
}


def bias_act(
    x: torch.Tensor,
    b: torch.Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """act(x + b) * gain, limited to [-clamp, clamp].

    x: any shape; b: (x.shape[dim],) or None. `alpha` (lrelu's slope below zero) and `gain` default to the activation's
    own; clamp None means no limit. Differentiable twice with respect to x and b.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"activation {act!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    default = ACTIVATIONS[act]
    alpha = default.alpha if alpha is None else float(alpha)
    gain = default.gain if gain is None else float(gain)
    if act == "lrelu" and alpha > 0 and gain > 0:
        return _LeakyRelu.apply(x, _aligned(b, x, dim), alpha, gain, clamp)
    return bias_act_reference(x, b, dim, act, alpha, gain, clamp)


def bias_act_reference(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """The definition in plain differentiable operations: the oracle of the tests."""
    default = ACTIVATIONS[act]
    x = x if b is None else x + _aligned(b, x, dim)
    x = default.function(x, default.alpha if alpha is None else alpha)
    gain = default.gain if gain is None else gain
    x = x if gain == 1 else x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def _aligned(b: torch.Tensor | None, x: torch.Tensor, dim: int) -> torch.Tensor | None:
    """b (n,) shaped so that it broadcasts along dimension `dim` of x."""
    if b is None:
        return None
    if b.ndim != 1 or b.shape[0] != x.shape[dim]:
        raise ValueError(f"bias of shape {tuple(b.shape)} does not fit dimension {dim} of {tuple(x.shape)}")
    return b.to(x.dtype).reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])


class _LeakyRelu(torch.autograd.Function):
    """The activation of nearly all layers, in one buffer: only the result is kept for the backward pass.

    Its slope is piecewise constant, so the second derivative with respect to x is zero and the backward pass is a
    product that autograd can differentiate again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x, b, alpha, gain, clamp):
        y = x.clone() if b is None else x + b
        y = F.leaky_relu_(y, alpha).mul_(gain)
        return y if clamp is None else y.clamp_min_(-clamp).clamp_max_(clamp)  # vmap knows no clamp_

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, b, ctx.alpha, ctx.gain, ctx.clamp = inputs
        ctx.bias_shape = None if b is None else b.shape
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        y = y.detach()
        slope = torch.where(y > 0, ctx.gain, ctx.gain * ctx.alpha).to(dy.dtype)
        if ctx.clamp is not None:
            slope = slope * (y.abs() < ctx.clamp)
        dx = dy * slope
        db = dx.sum_to_size(ctx.bias_shape) if ctx.bias_shape is not None and ctx.needs_input_grad[1] else None
        return dx, db, None, None, None
