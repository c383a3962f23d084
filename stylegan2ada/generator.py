"""The StyleGAN2 generator: mapping network Z -> W and synthesis network W -> image.

Legend: N images, Z / W latent sizes, K label size, L latents per image (one per layer), C image channels.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from .config import ARCHITECTURES
from .layers import (
    RESAMPLE_TAPS,
    Conv2dLayer,
    FullyConnectedLayer,
    KernelUser,
    SynthesisLayer,
    ToRGBLayer,
    channels_last,
    full_precision,
    full_precision_dtype,
    normalize_second_moment,
)
from .ops import setup_filter, upfirdn2d


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at a resolution in pixels."""
    return min(channel_base // resolution, channel_max)


def resolutions_up_to(img_resolution: int) -> list[int]:
    """[4, 8, ..., img_resolution]; raises ValueError where that is not a power of two from 4 on."""
    if img_resolution < 4 or img_resolution & (img_resolution - 1):
        raise ValueError(f"img_resolution must be a power of two and at least 4, got {img_resolution}")
    return [2**i for i in range(2, int(math.log2(img_resolution)) + 1)]


class MappingNetwork(nn.Module):
    """(N, Z), (N, K) -> (N, L, W). With z_dim 0 only the label is mapped; with num_ws None the result is (N, W)."""

    __call__: Callable[..., torch.Tensor]  # for type checkers: that of nn.Module says Any
    w_avg: torch.Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_decay: float = 0.995,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.num_layers = z_dim, c_dim, w_dim, num_ws, num_layers
        self.w_avg_decay = w_avg_decay
        embed_dim = w_dim if c_dim > 0 else 0
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed_dim)
        for i in range(num_layers):
            in_dim = z_dim + embed_dim if i == 0 else w_dim
            self.add_module(f"fc{i}", FullyConnectedLayer(in_dim, w_dim, "lrelu", lr_multiplier))
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: torch.Tensor | None,
        c: torch.Tensor | None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> torch.Tensor:
        """Truncation pulls the first `truncation_cutoff` latents (all if None) towards the mean of W by 1 - psi."""
        w = self.map(z, c)
        if self.num_ws is None:
            return w
        ws = w[:, None].expand(-1, self.num_ws, -1)
        if truncation_psi == 1:
            return ws
        truncated = self.w_avg.lerp(ws, truncation_psi)
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([truncated[:, :cutoff], ws[:, cutoff:]], dim=1)

    def map(self, z: torch.Tensor | None, c: torch.Tensor | None) -> torch.Tensor:
        """(N, W): one latent per image, neither repeated nor truncated."""
        parts = []
        if self.z_dim > 0:
            parts.append(normalize_second_moment(self._checked(z, self.z_dim, "z")))
        if self.c_dim > 0:
            parts.append(normalize_second_moment(self.embed(self._checked(c, self.c_dim, "label"))))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    def update_average(self, w: torch.Tensor, part: int = 0, parts: int = 1) -> None:
        """Moves the mean of W, which truncation uses, towards the mean of w (N, W).

        Of a batch that comes in `parts` of equal size, one after the other, `part` is the number of this one: together
        they move it as the whole batch does.
        """
        mean = w.detach().mean(dim=0)
        if parts == 1:
            self.w_avg.copy_(mean.lerp(self.w_avg, self.w_avg_decay))
            return
        if part == 0:
            self.w_avg.mul_(self.w_avg_decay)
        self.w_avg.add_(mean, alpha=(1 - self.w_avg_decay) / parts)

    @staticmethod
    def _checked(x: torch.Tensor | None, size: int, what: str) -> torch.Tensor:
        if x is None or x.ndim != 2 or x.shape[1] != size:
            raise ValueError(f"{what} must have shape (N, {size}), got {None if x is None else tuple(x.shape)}")
        return full_precision(x)


class SynthesisBlock(KernelUser):
    """All layers of one resolution. Its `num_conv` latents are its own; ToRGB's is shared with the next block.

    `dtype` is that of its activations; None: float32, or float64 where the input has it (`compute.set_precision`).
    """

    dtype: torch.dtype | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str,
        conv_clamp: float | None,
    ):
        super().__init__()
        self.architecture, self.resolution, self.is_first = architecture, resolution, in_channels == 0
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        if self.is_first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, up=2, conv_clamp=conv_clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, conv_clamp=conv_clamp)
        self.has_torgb = is_last or architecture == "skip"
        if self.has_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp)
        self.has_skip = architecture == "resnet" and not self.is_first
        if self.has_skip:
            self.skip = Conv2dLayer(in_channels, out_channels, kernel_size=1, bias=False, up=2)
        self.num_conv = 1 if self.is_first else 2

    def forward(
        self, x: torch.Tensor | None, img: torch.Tensor | None, ws: torch.Tensor, noise_mode: str
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x (N, C_in, H/2, W/2) or None, img (N, C, H/2, W/2) or None, ws (N, num_conv + 1, W) -> x, img at H x W."""
        ws = ws.unbind(dim=1)
        x = self._features(x, ws, noise_mode)
        if img is not None:
            img = upfirdn2d(img, self.resample_filter, up=2, padding=(2, 1, 2, 1), gain=4, kernels=self.kernels)
        if self.has_torgb:
            rgb = full_precision(self.torgb(x, ws[self.num_conv]))
            img = rgb if img is None else img + rgb
        return x, img

    def _features(self, x: torch.Tensor | None, ws: tuple[torch.Tensor, ...], noise_mode: str) -> torch.Tensor:
        if self.is_first:
            x = self.const[None].expand(ws[0].shape[0], -1, -1, -1)
            return self.conv1(self._prepared(x), ws[0], noise_mode)
        x = self._prepared(x)
        if not self.has_skip:
            return self.conv1(self.conv0(x, ws[0], noise_mode), ws[1], noise_mode)
        shortcut = self.skip(x, gain=math.sqrt(0.5))
        x = self.conv1(self.conv0(x, ws[0], noise_mode), ws[1], noise_mode, gain=math.sqrt(0.5))
        return shortcut + x

    def _prepared(self, x: torch.Tensor) -> torch.Tensor:
        return channels_last(x.to(self.dtype or full_precision_dtype(x)))


class SynthesisNetwork(nn.Module):
    """(N, L, W) -> (N, C, img_resolution, img_resolution) float32 in about [-1, 1]."""

    __call__: Callable[..., torch.Tensor]

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        conv_clamp: float | None = None,
        architecture: str = "skip",
    ):
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.num_fp16_res = num_fp16_res
        self.block_resolutions = resolutions_up_to(img_resolution)
        in_channels = 0
        for resolution in self.block_resolutions:
            out_channels = channels_at(resolution, channel_base, channel_max)
            block = SynthesisBlock(
                in_channels, out_channels, w_dim, resolution, img_channels, resolution == img_resolution,
                architecture, conv_clamp,
            )  # fmt: skip
            self.add_module(f"b{resolution}", block)
            in_channels = out_channels
        self.num_ws = sum(block.num_conv for block in self.blocks()) + 1

    def blocks(self) -> list[SynthesisBlock]:
        return [self.get_submodule(f"b{resolution}") for resolution in self.block_resolutions]

    def forward(self, ws: torch.Tensor, noise_mode: str = "random") -> torch.Tensor:
        """noise_mode: 'random' (training), 'const' (the same noise every time), 'none'."""
        if ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws must have shape (N, {self.num_ws}, {self.w_dim}), got {tuple(ws.shape)}")
        ws = full_precision(ws)
        x = img = None
        first = 0
        for block in self.blocks():
            x, img = block(x, img, ws[:, first : first + block.num_conv + 1], noise_mode)
            first += block.num_conv
        return img


class Generator(nn.Module):
    """G(z (N, Z), c (N, K)) -> images (N, C, H, W) in about [-1, 1]."""

    __call__: Callable[..., torch.Tensor]

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        mapping_kwargs: Mapping | None = None,
        synthesis_kwargs: Mapping | None = None,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis = SynthesisNetwork(w_dim, img_resolution, img_channels, **(synthesis_kwargs or {}))
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, **(mapping_kwargs or {}))

    def forward(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "random",
    ) -> torch.Tensor:
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), noise_mode)
