"""The three kernels on CUDA tensors: checks, memory, the shape of each launch. `plain` says what they compute.

Work is enqueued on torch's current stream and all memory comes from torch, so CUDA graphs capture it; nothing waits.
"""

import functools
import math
from dataclasses import dataclass

import torch

from . import nvrtc
from .cuda_modules import THREADS, TYPE_NAMES, CudaLauncher, Dims, LaunchError, neighbours
from .cuda_params import EpilogueBackwardParams, EpilogueParams, FirParams
from .unavailable import KernelsUnavailable

_LARGEST_FILTER = 1024  # taps; LARGEST_FILTER of cuda_fir.cu
_TILE = 4  # rows per thread; TILE of cuda_fir.cu
_PLANE_CHANNELS = 16  # PLANE_CHANNELS of cuda_epilogue.cu
_LARGEST_GRID_YZ = 65_535
_LARGEST_COUNT = 2**30  # pixels, columns, ... fit 32-bit numbers; offsets in memory have 64 bits
_FIR_4X4 = {(1, 1, 1, 1): "fir_up1_down1", (2, 2, 1, 1): "fir_up2_down1", (1, 1, 2, 2): "fir_up1_down2"}
_ENOUGH_BLOCKS = 1024  # several per multiprocessor of the largest GPU


def load(device: torch.device) -> "CudaKernels":
    """The kernels for a CUDA device, compiled if need be. Raises KernelsUnavailable."""
    if torch.version.cuda is None or not torch.cuda.is_available():
        raise KernelsUnavailable("this torch is not built for CUDA, or finds no CUDA device")
    index = torch.cuda.current_device() if device.index is None else device.index
    return _load(index)


@functools.cache
def _load(index: int) -> "CudaKernels":
    try:
        return CudaKernels(CudaLauncher(torch.device("cuda", index)))
    except LaunchError as error:
        raise KernelsUnavailable(f"the CUDA driver does not load them: {error}") from error


@dataclass(frozen=True)
class CudaKernels:
    """fir, epilogue and epilogue_backward on tensors of one CUDA device."""

    launcher: CudaLauncher

    def __str__(self) -> str:
        return f"fused CUDA kernels ({self.launcher.architecture}, NVRTC {'.'.join(map(str, nvrtc.version()))})"

    def fir(self, x, f, up, down, padding, flip_filter, gain):
        """`ops.upfirdn2d` for a 2-D filter f (fh, fw) of up to 1024 taps. x: (N, C, H, W)."""
        if x.ndim != 4 or f.ndim != 2 or f.numel() > _LARGEST_FILTER or f.numel() == 0:
            raise ValueError(
                f"fir takes x (N, C, H, W) and a filter (fh, fw) of 1 to {_LARGEST_FILTER} taps, "
                f"got {tuple(x.shape)} and {tuple(f.shape)}"
            )
        if min(*up, *down) < 1:
            raise ValueError(f"up {up} and down {down} are at least 1")
        x, channels_last = self._dense(x)
        f = _beside(f, "f", x, f.shape)
        images, channels, height, width = x.shape
        out_height = (height * up[1] + padding[2] + padding[3] - f.shape[0]) // down[1] + 1
        out_width = (width * up[0] + padding[0] + padding[1] - f.shape[1]) // down[0] + 1
        if out_height < 1 or out_width < 1:
            raise ValueError(f"the filter {tuple(f.shape)} is larger than the padded image, of {tuple(x.shape)}")
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        y = torch.empty(
            (images, channels, out_height, out_width), dtype=x.dtype, device=x.device, memory_format=memory_format
        )
        if y.numel() == 0:
            return y
        if not channels_last:
            images, channels = images * channels, 1
        _check_counts(images, height * up[1], width * up[0], out_height * down[1], out_width * down[0])
        kernel = _FIR_4X4.get((*up, *down), "fir") if f.shape == (4, 4) else "fir"
        tiles = _blocks(out_height, 1 if kernel == "fir" else _TILE)
        size = _neighbours_per_thread(x.dtype, channels, x, y)
        grid, block, channel_blocks = _grid_of_tiles(images, channels // size, out_width, tiles)
        params = FirParams(
            x.data_ptr(), f.data_ptr(), y.data_ptr(), gain, images, channels, height, width, out_height, out_width,
            *f.shape, bool(flip_filter), *up, *down, padding[0], padding[2], channel_blocks,
        )  # fmt: skip
        self.launcher.launch(x.dtype, kernel, size, grid, block, params)
        return y

    def epilogue(self, x, scale, noise, bias, slope, gain, clamp):
        """clamp(lrelu(x * scale[n,c] + noise[n or 0, pixel] + bias[c], slope) * gain). x: (N, C, H, W) or (N, C)."""
        x, channels_last = self._dense(x)
        images, channels, pixels = _sizes(x)
        channels_last = channels_last or pixels == 1
        scale = _beside(scale, "scale", x, (images, channels))
        bias = _beside(bias, "bias", x, (channels,))
        noise_images = 1 if noise is None or noise.shape[0] == 1 else images
        noise = _beside(noise, "noise", x, (noise_images, 1, *x.shape[2:]))
        y = torch.empty_like(x)
        if y.numel() == 0:
            return y
        size = _neighbours_per_thread(x.dtype, channels if channels_last else pixels, x, y, scale, noise, bias)
        if channels_last:
            if scale is None and noise is None and images * pixels < _LARGEST_COUNT:
                images, pixels = 1, images * pixels
            grid, block, pixels_per_block = _grid_of_pixels(images, pixels, channels // size, most_rounds=8)
            kernel = "epilogue_pixels"
        else:
            threads = _plane_threads(pixels // size)
            pixels_per_block = threads * size * 4
            grid = _blocks(pixels, pixels_per_block), min(images * channels, _LARGEST_GRID_YZ), 1
            kernel, block = "epilogue_planes", (threads, 1, 1)
        _check_counts(images * channels, pixels)
        params = EpilogueParams(
            x.data_ptr(), _address(scale), _address(noise), _address(bias), y.data_ptr(), slope, gain, _limit(clamp),
            images, pixels, channels, noise_images, pixels_per_block,
        )  # fmt: skip
        self.launcher.launch(x.dtype, kernel, size, grid, block, params)
        return y

    def epilogue_backward(self, dy, y, x, scale, slope, gain, clamp, want_scale, want_bias, want_noise):
        """(dx, dscale (N, C), dbias (C,), dnoise (N, 1, H, W)) of `epilogue`, in one pass; None if not wanted."""
        dy, channels_last = self._dense(dy)
        images, channels, pixels = _sizes(dy)
        channels_last = channels_last or pixels == 1
        if y is None and (slope != 1 or clamp is not None):
            raise ValueError("the gradient of a slope or a clamp needs y")
        y = _like(y, "y", dy) if slope != 1 or clamp is not None else None
        if want_scale and x is None:
            raise ValueError("the gradient of scale needs x")
        x = _like(x, "x", dy) if want_scale else None
        scale = _beside(scale, "scale", dy, (images, channels))
        dx = torch.empty_like(dy)
        size = _neighbours_per_thread(dy.dtype, channels if channels_last else pixels, dy, y, x, scale, dx)
        noise_shape = (images, 1, *dy.shape[2:])
        if channels_last:
            if scale is None and not want_scale and not want_noise and images * pixels < _LARGEST_COUNT:
                images, pixels = 1, images * pixels
            grid, block, pixels_per_block = _grid_of_pixels(images, pixels, channels // size, most_rounds=16)
            kernel = "epilogue_backward_pixels"
        else:
            threads = _plane_threads(pixels // size)
            pixels_per_block = threads * size
            grid = _blocks(pixels, pixels_per_block), _blocks(channels, _PLANE_CHANNELS), min(images, _LARGEST_GRID_YZ)
            kernel, block = "epilogue_backward_planes", (threads, 1, 1)
        _check_counts(images * channels, pixels)

        def sums(wanted: bool, *shape: int) -> torch.Tensor | None:
            """Room for what blocks sum up, where it is wanted; of an empty gradient the sums are zero."""
            make = torch.empty if dy.numel() else torch.zeros
            return make(shape, dtype=_wide(dy.dtype), device=dy.device) if wanted else None

        dscale, dbias = (sums(wanted, images, grid[0], channels) for wanted in (want_scale, want_bias))
        dnoise = sums(want_noise, grid[1], images, pixels)
        if dy.numel() > 0:
            params = EpilogueBackwardParams(
                dy.data_ptr(), _address(y), _address(x), _address(scale), dx.data_ptr(),
                _address(dscale), _address(dbias), _address(dnoise), slope, gain, _limit(clamp),
                images, pixels, channels, pixels_per_block,
            )  # fmt: skip
            self.launcher.launch(dy.dtype, kernel, size, grid, block, params)
        return (
            dx,
            dscale.sum(1) if want_scale else None,
            dbias.sum((0, 1)) if want_bias else None,
            (dnoise[0] if grid[1] == 1 else dnoise.sum(0)).reshape(noise_shape) if want_noise else None,
        )


    def _dense(self, x: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """x (N, C, H, W) or (N, C) without gaps; whether its channels are neighbours. One channel counts as NCHW."""
        if x.device != self.launcher.device or x.dtype not in TYPE_NAMES or x.layout != torch.strided or x.is_neg():
            raise ValueError(
                f"the kernels of {self.launcher.device} do not take {x.dtype} on {x.device}, layout {x.layout}"
            )
        if x.ndim == 2:
            return x.contiguous(), True
        if x.ndim != 4:
            raise ValueError(f"images have shape (N, C, H, W) or (N, C), got {tuple(x.shape)}")
        if x.shape[1] == 1 or x.is_contiguous():
            return x.contiguous(), False
        channels_last = x.stride(1) == 1
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        return x.contiguous(memory_format=memory_format), channels_last


# ---- the shape of a launch: it depends on the tensors' shape alone, and with it the order of all sums -------------


def _grid_of_tiles(images: int, vectors: int, out_width: int, tiles: int) -> tuple[Dims, Dims, int]:
    """(grid, block, blocks along the channels) of the FIR filter, for `vectors` of channels and `tiles` of rows.

    Few channels and many pixels per block: neighbouring outputs share what they read.
    """
    threads_x = min(_power_of_two(vectors), 4)
    threads_y = min(_power_of_two(out_width), 32 if threads_x == 1 else 16)
    threads_z = min(_power_of_two(tiles), THREADS // (threads_x * threads_y), 64)
    channel_blocks = _blocks(vectors, threads_x)
    grid = (channel_blocks * _blocks(out_width, threads_y), _blocks(tiles, threads_z), min(images, _LARGEST_GRID_YZ))
    return grid, (threads_x, threads_y, threads_z), channel_blocks


def _grid_of_pixels(images: int, pixels: int, vectors: int, most_rounds: int) -> tuple[Dims, Dims, int]:
    """(grid, block, pixels per block) for channels last; fewer rounds per thread where that fills the GPU."""
    threads_x = min(_power_of_two(vectors), 32)
    threads_y = THREADS // threads_x
    channel_blocks, layers = _blocks(vectors, threads_x), min(images, _LARGEST_GRID_YZ)
    rounds = most_rounds
    while rounds > 1 and _blocks(pixels, threads_y * rounds) * channel_blocks * layers < _ENOUGH_BLOCKS:
        rounds //= 2
    pixels_per_block = threads_y * rounds
    return (_blocks(pixels, pixels_per_block), channel_blocks, layers), (threads_x, threads_y, 1), pixels_per_block


def _plane_threads(vectors: int) -> int:
    return min(max(_power_of_two(vectors), 32), THREADS)


def _neighbours_per_thread(dtype: torch.dtype, neighbours_in_memory: int, *tensors: torch.Tensor | None) -> int:
    """16 bytes' worth where every tensor is aligned so and rows divide by it, else 1."""
    size = neighbours(dtype)
    aligned = all(t is None or t.data_ptr() % 16 == 0 for t in tensors)
    return size if aligned and neighbours_in_memory % size == 0 else 1


def _blocks(total: int, per_block: int) -> int:
    return -(-total // per_block)


def _power_of_two(number: int) -> int:
    """The smallest one that is not below `number`."""
    return 1 << max(number - 1, 0).bit_length()


# ---- tensors --------------------------------------------------------------------------------------------------------


def _like(t: torch.Tensor, name: str, dy: torch.Tensor) -> torch.Tensor:
    """t, which must be of dy's kind, laid out as dy is."""
    if t.shape != dy.shape or t.dtype != dy.dtype or t.device != dy.device:
        raise ValueError(
            f"{name} must be like dy, {tuple(dy.shape)} {dy.dtype} on {dy.device}; "
            f"got {tuple(t.shape)} {t.dtype} on {t.device}"
        )
    return t if t.stride() == dy.stride() else torch.empty_like(dy).copy_(t)


def _beside(t: torch.Tensor | None, name: str, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor | None:
    """t of the given shape as dense numbers of the type that x is computed in."""
    if t is None:
        return None
    if t.shape != shape or t.device != x.device:
        raise ValueError(f"{name} must be {tuple(shape)} on {x.device}, got {tuple(t.shape)} on {t.device}")
    return t.to(_wide(x.dtype)).contiguous()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _sizes(x: torch.Tensor) -> tuple[int, int, int]:
    """(images, channels, pixels)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _check_counts(*counts: int) -> None:
    if max(counts) >= _LARGEST_COUNT:
        raise ValueError(f"images of this size are not supported: {max(counts):,} is above {_LARGEST_COUNT:,}")


def _limit(clamp: float | None) -> float:
    return math.nan if clamp is None else clamp


def _address(t: torch.Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()
