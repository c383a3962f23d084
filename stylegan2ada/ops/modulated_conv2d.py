"""Convolution with per-image weight modulation and demodulation (StyleGAN2 paper, section 2.2, equations 1-3)."""

import torch

from .conv2d_resample import conv2d_resample
from .scale_bias_act import modulate, scale_bias_act
from .upfirdn2d import IntPair


def modulated_conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    noise: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: IntPair = 0,
    resample_filter: torch.Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    fused_modconv: bool = False,
    kernels: str = "auto",
) -> torch.Tensor:
    """Convolves each image with the weight scaled by its own styles.

    x (N, C_in, H, W), weight (C_out, C_in, kh, kw), styles (N, C_in), noise None or maps as large as the
    result: (H, W), (1, H, W) or (1 or N, 1, H, W). Scaling the weight's input channels equals scaling x before, and
    demodulation equals scaling the result, so no weight per image is ever made; `fused_modconv=True` makes them, as the
    reference does (one grouped convolution).
    """
    if fused_modconv:
        return modulated_conv2d_reference(
            x, weight, styles, noise, up, down, padding, resample_filter, demodulate, flip_weight
        )
    x, scale = convolve_modulated(
        x, weight, styles, up, down, padding, resample_filter, demodulate, flip_weight, kernels
    )
    return x if scale is None and noise is None else scale_bias_act(x, scale, _as_maps(noise), kernels=kernels)


def convolve_modulated(
    x, weight, styles, up=1, down=1, padding=0, resample_filter=None, demodulate=True, flip_weight=True, kernels="auto"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`modulated_conv2d` but for its last step: the result, and the scale (N, C_out) or None still to be applied, which
    a layer does together with its noise, bias and activation."""
    scale = None
    if demodulate:
        if x.dtype == torch.float16:
            weight, styles = _within_half_range(weight, styles)
        scale = demodulation(weight, styles)
    x = modulate(x, styles, kernels)
    x = conv2d_resample(x, weight, resample_filter, up, down, padding, flip_weight=flip_weight, kernels=kernels)
    return x, scale


def demodulation(weight: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """(N, C_out): 1 / norm of each image's weight per output channel, equation 3, from squares alone."""
    energy = weight.square().sum([2, 3])
    return (styles.square() @ energy.t() + 1e-8).rsqrt()


def _as_maps(noise: torch.Tensor | None) -> torch.Tensor | None:
    """One map (H, W) or (1, H, W) for all images, or maps of their own, as (1 or N, 1, H, W)."""
    return None if noise is None else noise.reshape(-1, 1, *noise.shape[-2:])


def _within_half_range(weight: torch.Tensor, styles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales that demodulation cancels, chosen so that the convolution's sums stay far below float16's 65,504
    (StyleGAN2-ADA, appendix: mixed-precision training)."""
    largest_weight = weight.abs().amax([1, 2, 3], keepdim=True)
    fan_in_root = (weight[0].numel()) ** 0.5
    return weight / (largest_weight * fan_in_root), styles / styles.abs().amax(1, keepdim=True)


def modulated_conv2d_reference(
    x, weight, styles, noise=None, up=1, down=1, padding=0, resample_filter=None, demodulate=True, flip_weight=True
):
    """The definition: one weight per image, all images in one grouped convolution. The oracle of the tests."""
    batch = x.shape[0]
    weights = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum([2, 3, 4], keepdim=True) + 1e-8).sqrt()
    x = x.reshape(1, -1, *x.shape[2:])
    weights = weights.reshape(-1, *weight.shape[1:]).to(x.dtype)
    x = conv2d_resample(x, weights, resample_filter, up, down, padding, groups=batch, flip_weight=flip_weight)
    x = x.reshape(batch, -1, *x.shape[2:])
    return x if noise is None else x + noise.to(x.dtype)
