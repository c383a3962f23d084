"""What stands between a tensor and a kernel, on the CPU and on CUDA: checks, memory layout, sizes, addresses.

A kernel checks nothing: whatever does not fit raises ValueError here, before a pointer leaves Python.
"""

import math

import torch

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # in the order of `type` in cpu.cpp
LARGEST_COUNT = 2**30  # pixels, columns, ... fit 32-bit numbers; offsets in memory have 64 bits


def computing_dtype(x: torch.Tensor) -> torch.dtype:
    """The type of sums and of all operands but x itself: float64 for float64, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def dense(x: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, bool]:
    """x (N, C, H, W) or (N, C) without gaps, and whether its channels are neighbours in memory."""
    if x.ndim == 4 and x.shape[2:] != (1, 1):
        return dense_image(x, device)
    _check(x, "x", device)
    if x.ndim not in (2, 4):
        raise ValueError(f"x is (N, C, H, W) or (N, C), got {tuple(x.shape)}")
    return x.contiguous(), True


def dense_image(x: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, bool]:
    """x (N, C, H, W) without gaps, and whether its channels are neighbours; one channel or pixel counts as NCHW."""
    _check(x, "x", device)
    if x.ndim != 4:
        raise ValueError(f"x is (N, C, H, W), got {tuple(x.shape)}")
    if x.shape[1] == 1 or x.is_contiguous():
        return x.contiguous(), False
    channels_last = x.stride(1) == 1
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format), channels_last


def operand(values: torch.Tensor | None, name: str, shape: tuple[int, ...], x: torch.Tensor) -> torch.Tensor | None:
    """`values` of `shape` beside x, without gaps, in the type that is computed in."""
    if values is None:
        return None
    _check(values, name, x.device)
    if values.shape != shape:
        raise ValueError(f"{name} is {tuple(shape)}, got {tuple(values.shape)}")
    return values.to(computing_dtype(x)).contiguous()


def like(values: torch.Tensor | None, name: str, x: torch.Tensor) -> torch.Tensor:
    """`values`, which must be there and have the shape and type of x, in its memory layout."""
    if values is None:
        raise ValueError(f"these gradients need {name}")
    _check(values, name, x.device)
    if values.shape != x.shape or values.dtype != x.dtype:
        raise ValueError(f"{name} is {tuple(x.shape)} of {x.dtype}, got {tuple(values.shape)} of {values.dtype}")
    return values if values.stride() == x.stride() else torch.empty_like(x).copy_(values)


def empty_filtered(
    x: torch.Tensor,
    channels_last: bool,
    f: torch.Tensor,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> torch.Tensor:
    """Room for x (N, C, H, W), upsampled and padded, filtered by f (fh, fw), downsampled; in the layout of x."""
    if min(*up, *down) < 1:
        raise ValueError(f"up {up} and down {down} are at least 1")
    images, channels, height, width = x.shape
    spread = (width * up[0], height * up[1])
    padded = (spread[0] + padding[0] + padding[1], spread[1] + padding[2] + padding[3])
    check_counts(*spread, *padded, *map(abs, padding), *up, *down)
    out_width, out_height = (padded[0] - f.shape[1]) // down[0] + 1, (padded[1] - f.shape[0]) // down[1] + 1
    if min(out_width, out_height) < 1:
        raise ValueError(f"the filter {tuple(f.shape)} is larger than the padded image, {padded[1]} x {padded[0]}")
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    shape = [images, channels, out_height, out_width]
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format)


def check_counts(*counts: int) -> None:
    """Refuses what a 32-bit number cannot count with room to spare."""
    if max(counts) >= LARGEST_COUNT:
        raise ValueError(f"images of this size are not supported: {max(counts):,} is not below {LARGEST_COUNT:,}")


def sizes(x: torch.Tensor) -> tuple[int, int, int]:
    """(images, channels, pixels)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def limit(clamp: float | None) -> float:
    """As the kernels take it: NaN, which nothing is above, means none."""
    return math.nan if clamp is None else clamp


def address(values: torch.Tensor | None) -> int | None:
    """Of the first number; None is a null pointer."""
    return None if values is None else values.data_ptr()


def _check(x: torch.Tensor, name: str, device: torch.device) -> None:
    """Refuses other devices and types, sparse tensors, and those whose memory means something else (negated)."""
    at_home = x.device == device or x.device.type == device.type == "cpu"  # the CPU with an index, too
    if not at_home or x.dtype not in DTYPES or x.layout != torch.strided or x.is_neg():
        raise ValueError(
            f"the kernels of {device} do not take {name} of {x.dtype} on {x.device}, layout {x.layout}"
            f"{', as a negated view' if x.is_neg() else ''}"
        )
