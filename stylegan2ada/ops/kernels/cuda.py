"""The three kernels on CUDA tensors: checks, memory, the shape of each launch. `plain` says what they compute.

Work is enqueued on torch's current stream and all memory comes from torch, so CUDA graphs capture it; nothing waits.
"""

import functools
from dataclasses import dataclass

import torch

from . import nvrtc
from .cuda_modules import THREADS, CudaLauncher, Dims, LaunchError, neighbours
from .cuda_params import EpilogueBackwardParams, EpilogueParams, FirParams
from .tensors import (
    LARGEST_COUNT,
    address,
    check_counts,
    computing_dtype,
    dense,
    dense_image,
    empty_filtered,
    like,
    limit,
    operand,
    sizes,
)
from .unavailable import KernelsUnavailable

_LARGEST_FILTER = 1024  # taps; LARGEST_FILTER of cuda_fir.cu
_TILE = 4  # rows per thread; TILE of cuda_fir.cu
_PLANE_CHANNELS = 16  # PLANE_CHANNELS of cuda_epilogue.cu
_LARGEST_GRID_YZ = 65_535
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
        x, channels_last = dense_image(x, self.launcher.device)
        if f.ndim != 2 or not 1 <= f.numel() <= _LARGEST_FILTER:
            raise ValueError(f"a filter is (fh, fw) of 1 to {_LARGEST_FILTER} taps, got {tuple(f.shape)}")
        f = operand(f.to(computing_dtype(x)), "f", f.shape, x)
        y = empty_filtered(x, channels_last, f, up, down, padding)
        if y.numel() == 0:
            return y
        (images, channels, height, width), (out_height, out_width) = x.shape, y.shape[2:]
        if not channels_last:
            images, channels = images * channels, 1
        check_counts(images, out_height * down[1], out_width * down[0])
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
        x, channels_last = dense(x, self.launcher.device)
        images, channels, pixels = sizes(x)
        scale = operand(scale, "scale", (images, channels), x)
        bias = operand(bias, "bias", (channels,), x)
        noise_images = 1 if noise is None or noise.shape[0] == 1 else images
        noise = operand(noise, "noise", (noise_images, 1, *x.shape[2:]), x)
        y = torch.empty_like(x)
        if y.numel() == 0:
            return y
        size = _neighbours_per_thread(x.dtype, channels if channels_last else pixels, x, y, scale, noise, bias)
        if channels_last:
            if scale is None and noise is None and images * pixels < LARGEST_COUNT:
                images, pixels = 1, images * pixels
            grid, block, pixels_per_block = _grid_of_pixels(images, pixels, channels // size, most_rounds=8)
            kernel = "epilogue_pixels"
        else:
            threads = _plane_threads(pixels // size)
            pixels_per_block = threads * size * 4
            grid = _blocks(pixels, pixels_per_block), min(images * channels, _LARGEST_GRID_YZ), 1
            kernel, block = "epilogue_planes", (threads, 1, 1)
        check_counts(images * channels, pixels)
        params = EpilogueParams(
            x.data_ptr(), address(scale), address(noise), address(bias), y.data_ptr(), slope, gain, limit(clamp),
            images, pixels, channels, noise_images, pixels_per_block,
        )  # fmt: skip
        self.launcher.launch(x.dtype, kernel, size, grid, block, params)
        return y

    def epilogue_backward(self, dy, y, x, scale, slope, gain, clamp, want_scale, want_bias, want_noise):
        """(dx, dscale (N, C), dbias (C,), dnoise (N, 1, H, W)) of `epilogue`, in one pass; None if not wanted."""
        dy, channels_last = dense(dy, self.launcher.device)
        images, channels, pixels = sizes(dy)
        y = like(y, "y", dy) if slope != 1 or clamp is not None else None
        x = like(x, "x", dy) if want_scale else None
        scale = operand(scale, "scale", (images, channels), dy)
        dx = torch.empty_like(dy)
        size = _neighbours_per_thread(dy.dtype, channels if channels_last else pixels, dy, y, x, scale, dx)
        noise_shape = (images, 1, *dy.shape[2:])
        if channels_last:
            if scale is None and not want_scale and not want_noise and images * pixels < LARGEST_COUNT:
                images, pixels = 1, images * pixels
            grid, block, pixels_per_block = _grid_of_pixels(images, pixels, channels // size, most_rounds=16)
            kernel = "epilogue_backward_pixels"
        else:
            threads = _plane_threads(pixels // size)
            pixels_per_block = threads * size
            grid = _blocks(pixels, pixels_per_block), _blocks(channels, _PLANE_CHANNELS), min(images, _LARGEST_GRID_YZ)
            kernel, block = "epilogue_backward_planes", (threads, 1, 1)
        check_counts(images * channels, pixels)

        def sums(wanted: bool, *shape: int) -> torch.Tensor | None:
            """Room for what blocks sum up, where it is wanted; of an empty gradient the sums are zero."""
            make = torch.empty if dy.numel() else torch.zeros
            return make(shape, dtype=computing_dtype(dy), device=dy.device) if wanted else None

        dscale, dbias = (sums(wanted, images, grid[0], channels) for wanted in (want_scale, want_bias))
        dnoise = sums(want_noise, grid[1], images, pixels)
        if dy.numel() > 0:
            params = EpilogueBackwardParams(
                dy.data_ptr(), address(y), address(x), address(scale), dx.data_ptr(),
                address(dscale), address(dbias), address(dnoise), slope, gain, limit(clamp),
                images, pixels, channels, pixels_per_block,
            )  # fmt: skip
            self.launcher.launch(dy.dtype, kernel, size, grid, block, params)
        return (
            dx,
            dscale.sum(1) if want_scale else None,
            dbias.sum((0, 1)) if want_bias else None,
            (dnoise[0] if grid[1] == 1 else dnoise.sum(0)).reshape(noise_shape) if want_noise else None,
        )


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
