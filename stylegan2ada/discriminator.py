"""The StyleGAN2 discriminator, with the label projected onto its last features (StyleGAN2-ADA, appendix C).

Legend: N images, C image channels, F feature maps, K label size.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from .generator import (
    ARCHITECTURES,
    MappingNetwork,
    channels_at,
    resolutions_up_to,
)
from .layers import (
    RESAMPLE_TAPS,
    Conv2dLayer,
    FullyConnectedLayer,
    KernelUser,
    MinibatchStdLayer,
    channels_last,
    full_precision,
    full_precision_dtype,
)
from .ops import setup_filter, upfirdn2d


class DiscriminatorBlock(KernelUser):
    """Halves the resolution: x (N, F_in, H, W) or None, img (N, C, H, W) or None -> x (N, F_out, H/2, W/2), img.

    `dtype` is that of its activations; None: float32, or float64 where the input has it (`compute.set_precision`).
    """

    dtype: torch.dtype | None = None

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        img_channels: int,
        architecture: str,
        conv_clamp: float | None,
        resolution: int,
        num_frozen: int = 0,
    ):
        """in_channels 0 marks the first block, which sees only the image. The first `num_frozen` layers never train."""
        super().__init__()
        self.architecture, self.resolution = architecture, resolution
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.has_fromrgb = in_channels == 0 or architecture == "skip"
        trainable = [index >= num_frozen for index in range(4)]
        if self.has_fromrgb:
            self.fromrgb = Conv2dLayer(
                img_channels, mid_channels, 1, activation="lrelu", conv_clamp=conv_clamp, trainable=trainable.pop(0)
            )
        self.conv0 = Conv2dLayer(
            mid_channels, mid_channels, 3, activation="lrelu", conv_clamp=conv_clamp, trainable=trainable.pop(0)
        )
        self.conv1 = Conv2dLayer(
            mid_channels, out_channels, 3, activation="lrelu", down=2, conv_clamp=conv_clamp, trainable=trainable.pop(0)
        )
        if architecture == "resnet":
            self.skip = Conv2dLayer(mid_channels, out_channels, 1, bias=False, down=2, trainable=trainable.pop(0))

    @property
    def num_layers(self) -> int:
        return len([name for name, _ in self.named_children()])

    def forward(self, x: torch.Tensor | None, img: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        dtype = self.dtype or full_precision_dtype(img if x is None else x)
        if x is not None:
            x = channels_last(x.to(dtype))
        if self.has_fromrgb:
            features = channels_last(self.fromrgb(channels_last(img.to(dtype))))
            x = features if x is None else x + features
            img = self._half(img) if self.architecture == "skip" else None
        if self.architecture != "resnet":
            return self.conv1(self.conv0(x)), img
        shortcut = self.skip(x, gain=math.sqrt(0.5))
        return shortcut + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img

    def _half(self, img: torch.Tensor) -> torch.Tensor:
        return upfirdn2d(img, self.resample_filter, down=2, padding=1, kernels=self.kernels)


class DiscriminatorEpilogue(nn.Module):
    """The last resolution: x (N, F, 4, 4) -> logits (N, 1), or their projection on the mapped label (N, cmap_dim)."""

    def __init__(
        self,
        in_channels: int,
        cmap_dim: int,
        resolution: int,
        img_channels: int,
        has_fromrgb: bool,
        mbstd_group_size: int | None = 4,
        mbstd_num_channels: int = 1,
        conv_clamp: float | None = None,
    ):
        super().__init__()
        self.cmap_dim = cmap_dim
        self.has_fromrgb = has_fromrgb
        if has_fromrgb:
            self.fromrgb = Conv2dLayer(img_channels, in_channels, 1, activation="lrelu", conv_clamp=conv_clamp)
        self.mbstd = MinibatchStdLayer(mbstd_group_size, mbstd_num_channels) if mbstd_num_channels > 0 else None
        self.conv = Conv2dLayer(
            in_channels + mbstd_num_channels, in_channels, 3, activation="lrelu", conv_clamp=conv_clamp
        )
        self.fc = FullyConnectedLayer(in_channels * resolution**2, in_channels, activation="lrelu")
        self.out = FullyConnectedLayer(in_channels, 1 if cmap_dim == 0 else cmap_dim)

    def forward(
        self, x: torch.Tensor | None, img: torch.Tensor | None, cmap: torch.Tensor | None, num_batches: int = 1
    ) -> torch.Tensor:
        if x is not None:
            x = full_precision(x)
        if self.has_fromrgb:
            features = self.fromrgb(full_precision(img))
            x = features if x is None else x + features
        if self.mbstd is not None:
            x = self.mbstd(x, num_batches)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        if self.cmap_dim > 0:
            x = (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)
        return x


class Discriminator(nn.Module):
    """D(images (N, C, H, W) in [-1, 1], c (N, K)) -> logits (N, 1), positive for images that look real."""

    __call__: Callable[..., torch.Tensor]  # for type checkers: that of nn.Module says Any

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        architecture: str = "resnet",
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        conv_clamp: float | None = None,
        cmap_dim: int | None = None,
        block_kwargs: Mapping | None = None,
        mapping_kwargs: Mapping | None = None,
        epilogue_kwargs: Mapping | None = None,
    ):
        """`block_kwargs={"freeze_layers": n}` freezes the n layers nearest to the image (FreezeD, Mo et al. 2020)."""
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        self.num_fp16_res = num_fp16_res
        self.block_resolutions = resolutions_up_to(img_resolution)[:0:-1]
        if cmap_dim is None:
            cmap_dim = channels_at(4, channel_base, channel_max)
        cmap_dim = cmap_dim if c_dim > 0 else 0
        num_frozen = (block_kwargs or {}).get("freeze_layers", 0)

        in_channels = 0
        for resolution in self.block_resolutions:
            mid_channels = channels_at(resolution, channel_base, channel_max)
            out_channels = channels_at(resolution // 2, channel_base, channel_max)
            block = DiscriminatorBlock(
                in_channels, mid_channels, out_channels, img_channels, architecture, conv_clamp,
                resolution, num_frozen,
            )  # fmt: skip
            self.add_module(f"b{resolution}", block)
            num_frozen = max(num_frozen - block.num_layers, 0)
            in_channels = out_channels
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, num_ws=None, **(mapping_kwargs or {}))
        self.b4 = DiscriminatorEpilogue(
            channels_at(4, channel_base, channel_max), cmap_dim, 4, img_channels,
            has_fromrgb=architecture == "skip" or not self.block_resolutions, conv_clamp=conv_clamp,
            **(epilogue_kwargs or {}),
        )  # fmt: skip

    def blocks(self) -> list[DiscriminatorBlock]:
        return [self.get_submodule(f"b{resolution}") for resolution in self.block_resolutions]

    def forward(self, img: torch.Tensor, c: torch.Tensor | None = None, num_batches: int = 1) -> torch.Tensor:
        """`num_batches` minibatches of equal size stand one after the other; none sees another's statistics."""
        expected = (self.img_channels, self.img_resolution, self.img_resolution)
        if img.shape[1:] != expected:
            raise ValueError(f"images must have shape (N, {', '.join(map(str, expected))}), got {tuple(img.shape)}")
        x = None
        for block in self.blocks():
            x, img = block(x, img)
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, img, cmap, num_batches)
