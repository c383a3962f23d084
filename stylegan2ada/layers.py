"""Layers of both networks: they own the weights; the arithmetic is in `ops`.

Weights start from a unit normal and are scaled at run time (equalised learning rate, Progressive GAN, section 4.1).
Legend: N images, C channels, H x W pixels, W latent size.
"""

import math

import torch
from torch import nn

from .dealing import DealerUser
from .ops import bias_act, conv2d_resample, modulated_conv2d, setup_filter
from .ops.bias_act import ACTIVATIONS
from .ops.modulated_conv2d import convolve_modulated
from .ops.scale_bias_act import scale_bias_act

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


class KernelUser(nn.Module):
    """A module whose operators run on fused kernels where there are any; `compute.set_kernels` changes that."""

    kernels: str = "auto"


class FullyConnectedLayer(KernelUser):
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
        return bias_act(x, bias, act=self.activation, kernels=self.kernels)


class Conv2dLayer(KernelUser):
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
        self.weight = nn.Parameter(_initial_weight(out_channels, in_channels, kernel_size), trainable)
        self.bias = nn.Parameter(torch.zeros(out_channels), trainable) if bias else None

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        x = conv2d_resample(
            x, self.weight * self.weight_gain, self.resample_filter, self.up, self.down, self.padding,
            flip_weight=self.up == 1, kernels=self.kernels,
        )  # fmt: skip
        act_gain, clamp = scaled(self.activation, gain, self.conv_clamp)
        return bias_act(x, self.bias, act=self.activation, gain=act_gain, clamp=clamp, kernels=self.kernels)


class SynthesisLayer(KernelUser, DealerUser):
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
        self.weight = nn.Parameter(_initial_weight(out_channels, in_channels, kernel_size))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: str = "random", gain: float = 1.0) -> torch.Tensor:
        x, scale = convolve_modulated(
            x, self.weight, self.affine(w), up=self.up, padding=self.padding, resample_filter=self.resample_filter,
            flip_weight=self.up == 1, kernels=self.kernels,
        )  # fmt: skip
        act_gain, clamp = scaled("lrelu", gain, self.conv_clamp)
        slope = ACTIVATIONS["lrelu"].alpha
        return scale_bias_act(x, scale, self._noise(x, noise_mode), self.bias, slope, act_gain, clamp, self.kernels)

    def _noise(self, x: torch.Tensor, noise_mode: str) -> torch.Tensor | None:
        if noise_mode == "none":
            return None
        if noise_mode == "const":
            return (self.noise_const * self.noise_strength)[None, None]
        if noise_mode != "random":
            raise ValueError(f"noise_mode is 'random', 'const' or 'none', got {noise_mode!r}")
        shape = x.shape[0], 1, self.resolution, self.resolution
        return self.dealer.randn(*shape, dtype=self.noise_strength.dtype, device=x.device) * self.noise_strength


class ToRGBLayer(KernelUser):
    """Modulated 1x1 convolution without demodulation: (N, C, H, W), (N, W) -> (N, img_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None = None):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(_initial_weight(out_channels, in_channels, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False, kernels=self.kernels)
        return bias_act(x, self.bias, clamp=self.conv_clamp, kernels=self.kernels)


class MinibatchStdLayer(nn.Module):
    """Appends the standard deviation over groups of images as extra channels (Progressive GAN, section 3).

    (N, C, H, W) -> (N, C + num_channels, H, W). Image i shares its group with i + N/group, i + 2N/group, ...;
    `group_size` None means the whole batch. N must be a multiple of the group.
    """

    def __init__(self, group_size: int | None, num_channels: int = 1):
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: torch.Tensor, num_batches: int = 1) -> torch.Tensor:
        """`num_batches` minibatches of N / num_batches images stand one after the other; groups stay inside them."""
        total, channels, height, width = x.shape
        batch = total // num_batches
        group = batch if self.group_size is None else min(self.group_size, batch)
        if total % num_batches or batch % max(group, 1):
            size = f"{total / num_batches:g}"
            raise ValueError(f"a batch of {size} images does not divide into minibatch-std groups of {group}")
        parts = self.num_channels, channels // self.num_channels, height, width
        groups = x.reshape(num_batches, group, batch // max(group, 1), *parts)
        variance = full_precision(groups).var(dim=1, correction=0)
        deviation = (variance + 1e-8).sqrt().mean(dim=[3, 4, 5])  # (num_batches, batch / group, num_channels)
        statistic = deviation.to(x.dtype)[:, None].expand(-1, group, -1, -1).reshape(total, -1, 1, 1)
        return torch.cat([x, statistic.expand(-1, -1, height, width)], dim=1)


def scaled(activation: str, gain: float, clamp: float | None) -> tuple[float, float | None]:
    """The activation's own gain times `gain`, and the clamp scaled with it."""
    return ACTIVATIONS[activation].gain * gain, None if clamp is None else clamp * gain


def _initial_weight(out_channels: int, in_channels: int, kernel_size: int) -> torch.Tensor:
    """Unit normal, and channels-last as the convolutions want it, which spares a copy at each use."""
    return channels_last(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
