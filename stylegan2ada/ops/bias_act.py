"""Bias, activation, gain and clamp in one operation (StyleGAN2: every layer ends with it)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .scale_bias_act import scale_bias_act


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
    kernels: str = "auto",
) -> torch.Tensor:
    """act(x + b) * gain, limited to [-clamp, clamp].

    x: any shape; b: (x.shape[dim],) or None. `alpha` (lrelu's slope below zero) and `gain` default to the activation's
    own; clamp None means no limit. Differentiable twice with respect to x and b. `linear`, `relu` and `lrelu` run on
    the fused kernels where there are any (`kernels`: see `stylegan2ada.ops.kernels.find`).
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"activation {act!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    default = ACTIVATIONS[act]
    alpha = default.alpha if alpha is None else float(alpha)
    gain = default.gain if gain is None else float(gain)
    slope = {"linear": 1.0, "relu": 0.0, "lrelu": alpha}.get(act, -1.0)
    if slope >= 0 and gain > 0 and dim % x.ndim == 1 and x.ndim in (2, 4):
        _check_bias(b, x, dim)
        return scale_bias_act(x, None, None, b, slope, gain, clamp, kernels)
    return bias_act_reference(x, b, dim, act, alpha, gain, clamp)


def bias_act_reference(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """The definition in plain differentiable operations: the oracle of the tests."""
    default = ACTIVATIONS[act]
    x = x if b is None else x + _aligned(b, x, dim)
    x = default.function(x, default.alpha if alpha is None else alpha)
    gain = default.gain if gain is None else gain
    x = x if gain == 1 else x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def _aligned(b: torch.Tensor, x: torch.Tensor, dim: int) -> torch.Tensor:
    """b (n,) shaped so that it broadcasts along dimension `dim` of x."""
    _check_bias(b, x, dim)
    return b.to(x.dtype).reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])


def _check_bias(b: torch.Tensor | None, x: torch.Tensor, dim: int) -> None:
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f"bias of shape {tuple(b.shape)} does not fit dimension {dim} of {tuple(x.shape)}")
