"""Layers of both networks: they own the weights; the arithmetic is in `ops`.

Weights start from a unit normal and are scaled at run time (equalised learning rate, Progressive GAN, section 4.1).
Legend: N images, C channels, H x W pixels, W latent size.
"""

import math

import torch
from torch import nn

from .ops import bias_act, conv2d_resample, modulated_conv2d, setup_filter
from .ops.bias_act import ACTIVATIONS

RESAMPLE_TAPS = (1, 3, 3, 1)


def normalize_second_moment(x: torch.Tensor) -> torch.Tensor:
    """(N, F) scaled so that each row's mean square is one (pixel norm)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """x in float32 or, where it has more already, in float64."""
    return x.to(full_precision_dtype(x))


def full_precision_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) stored pixel by pixel, as convolutions read it fastest; `memory_format=` is unknown to vmap."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class FullyConnectedLayer(nn.Module):
    """(N, in_features) -> (N, out_features), with equalised learning rate times `lr_multiplier`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ):
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x @ (self.weight * self.weight_gain).t()
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        return bias_act(x, bias, act=self.activation)


class Conv2dLayer(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, H*up/down, W*up/down), with activation and optional clamp."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        activation: str = "linear",
        up: int = 1,
        down: int = 1,
        conv_clamp: float | None = None,
        trainable: bool = True,
    ):
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size), trainable)
        self.bias = nn.Parameter(torch.zeros(out_channels), trainable) if bias else None

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        x = conv2d_resample(x, weight, self.resample_filter, self.up, self.down, self.padding, flip_weight=self.up == 1)
        return scaled_bias_act(x, self.bias, self.activation, gain, self.conv_clamp)


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: (N, C_in, H, W), (N, W) -> (N, C_out, H*up, W*up)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        conv_clamp: float | None = None,
        kernel_size: int = 3,
    ):
        super().__init__()
        self.resolution, self.up, self.conv_clamp = resolution, up, conv_clamp
        self.padding = kernel_size // 2
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: str = "random", gain: float = 1.0) -> torch.Tensor:
        x = modulated_conv2d(
            x, self.weight, self.affine(w), noise=self._noise(x, noise_mode), up=self.up, padding=self.padding,
            resample_filter=self.resample_filter, flip_weight=self.up == 1,
        )  # fmt: skip
        return scaled_bias_act(x, self.bias, "lrelu", gain, self.conv_clamp)

    def _noise(self, x: torch.Tensor, noise_mode: str) -> torch.Tensor | None:
        if noise_mode == "none":
            return None
        if noise_mode == "const":
            return self.noise_const * self.noise_strength
        if noise_mode != "random":
            raise ValueError(f"noise_mode is 'random', 'const' or 'none', got {noise_mode!r}")
        shape = [x.shape[0], 1, self.resolution, self.resolution]
        return torch.randn(shape, device=x.device) * self.noise_strength


class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution without demodulation: (N, C, H, W), (N, W) -> (N, img_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None = None):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        return scaled_bias_act(x, self.bias, "linear", 1.0, self.conv_clamp)


class MinibatchStdLayer(nn.Module):
    """Appends the standard deviation over groups of images as extra channels (Progressive GAN, section 3).

    (N, C, H, W) -> (N, C + num_channels, H, W). Image i shares its group with i + N/group, i + 2N/group, ...;
    `group_size` None means the whole batch. N must be a multiple of the group.
    """

    def __init__(self, group_size: int | None, num_channels: int = 1):
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        group = batch if self.group_size is None else min(self.group_size, batch)
        if batch % group:
            raise ValueError(f"a batch of {batch} images does not divide into minibatch-std groups of {group}")
        groups = x.reshape(group, batch // group, self.num_channels, channels // self.num_channels, height, width)
        variance = full_precision(groups).var(dim=0, correction=0)
        deviation = (variance + 1e-8).sqrt().mean(dim=[2, 3, 4])  # (N/group, num_channels)
        statistic = deviation.to(x.dtype).repeat(group, 1)[:, :, None, None].expand(-1, -1, height, width)
        return torch.cat([x, statistic], dim=1)


def scaled_bias_act(
    x: torch.Tensor, bias: torch.Tensor | None, activation: str, gain: float, clamp: float | None
) -> torch.Tensor:
    """bias_act with an extra `gain` on top of the activation's own; the clamp scales with it."""
    return bias_act(
        x, bias, act=activation, gain=ACTIVATIONS[activation].gain * gain, clamp=None if clamp is None else clamp * gain
    )
