"""The fused kernels on the CPU: compiled when the package was installed, called through ctypes.

The library itself checks nothing. Here everything is checked, made dense and allocated before a pointer leaves Python.
"""

import ctypes
import functools
import hashlib
import math
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

from .unavailable import KernelsUnavailable

FOLDER = Path(__file__).resolve().parent
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}  # -> `type` in cpu.cpp
INSTRUCTION_SETS = {"avx512": "AVX-512", "avx2": "AVX2", "baseline": "baseline instruction set"}  # best first

# Below this many elements a second thread costs more than it saves.
ELEMENTS_PER_THREAD = 16384
CPU = torch.device("cpu")
MAX_SIZE = 2**30  # of a side, filter or padding, in pixels: the library counts them in 32 bits

_INT, _LONG, _DOUBLE, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_double, ctypes.c_void_p
_TEAM = [_POINTER, _INT]


@functools.cache
def load(device: torch.device = CPU) -> "CpuKernels":
    """The kernels of the best library that was built and that this processor can run. Raises KernelsUnavailable."""
    libraries = runnable_libraries(FOLDER)
    if not libraries:
        raise KernelsUnavailable(
            "they were not built when SpineGAN was installed, for want of a C++ compiler; "
            "install one (Debian, Ubuntu: apt install g++), then SpineGAN again (pip install -v -e .)"
        )
    name, path = next(iter(libraries.items()))
    return open_library(name, path)


def open_library(instruction_set: str, path: Path) -> "CpuKernels":
    """The kernels in the library at `path`. Raises KernelsUnavailable."""
    try:
        library = ctypes.CDLL(str(path))
        library.spinegan_sources.restype = ctypes.c_uint64
        if library.spinegan_sources() != sources_hash(FOLDER):  # its functions may expect other arguments
            raise KernelsUnavailable(f"{path} was built from other sources; install SpineGAN again")
        return CpuKernels(_declare(library), _openmp_parallel(), INSTRUCTION_SETS[instruction_set])
    except (OSError, AttributeError) as error:  # does not load; lacks a function
        raise KernelsUnavailable(f"{path} is not usable ({error}); install SpineGAN again") from error


def sources_hash(folder: Path) -> int:
    """Of all that the library is built from; setup.py computes the same."""
    digest = hashlib.sha256()
    for file in [folder / "bodies.h", *sorted(folder.glob("cpu*.h")), folder / "cpu.cpp"]:
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:8], "big")


def runnable_libraries(folder: Path) -> dict[str, Path]:
    """Instruction set -> library in `folder`, for those that this processor has, the best first."""
    found = {}
    capability = torch.backends.cpu.get_cpu_capability()
    for name in INSTRUCTION_SETS:
        runs = name == "baseline" or capability == name.upper() or (name == "avx2" and capability == "AVX512")
        files = [folder / f"_cpu_{name}{suffix}" for suffix in EXTENSION_SUFFIXES]
        present = [file for file in files if file.is_file()]
        if runs and present:
            found[name] = present[0]
    return found


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """States the arguments of the three functions of cpu.cpp."""
    library.spinegan_fir.argtypes = [
        _INT, _INT, _POINTER, _POINTER, _LONG, _LONG, *[_INT] * 4, _POINTER, *[_INT] * 8, *_TEAM,
    ]  # fmt: skip
    library.spinegan_fir.restype = _INT
    library.spinegan_epilogue.argtypes = [
        _INT, _INT, _POINTER, _POINTER, *[_LONG] * 4, _POINTER, _POINTER, _LONG, _POINTER, *[_DOUBLE] * 3, *_TEAM,
    ]  # fmt: skip
    library.spinegan_epilogue.restype = None
    library.spinegan_epilogue_backward.argtypes = [
        _INT, _INT, *[_POINTER] * 9, *[_LONG] * 4, *[_DOUBLE] * 3, *_TEAM,
    ]  # fmt: skip
    library.spinegan_epilogue_backward.restype = None
    return library


def _openmp_parallel() -> int | None:
    """Address of `GOMP_parallel` of the OpenMP library that torch runs on; None where it has another one."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, _POINTER).value
    except (AttributeError, TypeError):  # not exported; Windows has no CDLL(None)
        return None


@dataclass(frozen=True)
class CpuKernels:
    """fir, epilogue and epilogue_backward on CPU tensors, in a library declared by `_declare`."""

    library: ctypes.CDLL
    parallel: int | None
    instruction_set: str

    def __str__(self) -> str:
        return f"fused CPU kernels ({self.instruction_set}{'' if self.parallel else ', one thread'})"

    def fir(
        self,
        x: torch.Tensor,
        f: torch.Tensor,
        up: tuple[int, int],
        down: tuple[int, int],
        padding: tuple[int, int, int, int],
        flip_filter: bool,
        gain: float,
    ) -> torch.Tensor:
        """Upsamples, pads, filters and downsamples x (N, C, H, W) by f (fh, fw): see `ops.upfirdn2d`."""
        x, channels_last = _dense_image(x)
        number = _computing_dtype(x)
        if f.ndim != 2 or f.numel() == 0 or f.device.type != "cpu":
            raise ValueError(f"a filter is (fh, fw) on the CPU, got {tuple(f.shape)} on {f.device}")
        f = ((f if flip_filter else f.flip([0, 1])).to(number) * gain).contiguous()
        (images, channels, height, width), (f_height, f_width) = x.shape, f.shape
        (up_x, up_y), (down_x, down_y), (left, right, top, bottom) = up, down, padding
        if min(*up, *down) < 1:
            raise ValueError(f"up {up} and down {down} are at least 1")
        padded_width, padded_height = width * up_x + left + right, height * up_y + top + bottom
        out_width, out_height = (padded_width - f_width) // down_x + 1, (padded_height - f_height) // down_y + 1
        if min(out_width, out_height) < 1:
            raise ValueError(
                f"the filter, {f_width} x {f_height}, is larger than the padded image, {padded_width} x {padded_height}"
            )
        if max(padded_width, padded_height, width * up_x, height * up_y, *map(abs, padding), *up, *down) > MAX_SIZE:
            raise ValueError(f"image of {padded_width} x {padded_height} pixels, padded, is too large")
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        y = torch.empty([images, channels, out_height, out_width], dtype=x.dtype, memory_format=memory_format)
        if y.numel() == 0:
            return y
        done = self.library.spinegan_fir(
            DTYPES[x.dtype], channels_last, x.data_ptr(), y.data_ptr(), images, channels, height, width, out_height,
            out_width, f.data_ptr(), f_height, f_width, up_x, up_y, down_x, down_y, left, top, *self._team(y),
        )  # fmt: skip
        if not done:
            raise MemoryError(f"no memory for filtering an image of {tuple(x.shape)}")
        return y

    def epilogue(
        self,
        x: torch.Tensor,
        scale: torch.Tensor | None,
        noise: torch.Tensor | None,
        bias: torch.Tensor | None,
        slope: float,
        gain: float,
        clamp: float | None,
    ) -> torch.Tensor:
        """clamp(lrelu(x * scale + noise + bias, slope) * gain, -clamp, clamp).

        x (N, C, H, W) or (N, C); scale (N, C); noise (N or 1, 1, H, W); bias (C,). slope 1 is linear, 0 ReLU; gain > 0.
        """
        x, channels_last = _dense(x)
        images, channels, pixels = _sizes(x)
        number = _computing_dtype(x)
        noise_images = 0 if noise is None else noise.shape[0]
        scale = _operand(scale, "scale", (images, channels), number)
        noise = _operand(noise, "noise", (images if noise_images == images else 1, 1, *x.shape[2:]), number)
        bias = _operand(bias, "bias", (channels,), number)
        y = torch.empty_like(x)
        if y.numel() > 0:
            self.library.spinegan_epilogue(
                DTYPES[x.dtype], channels_last, x.data_ptr(), y.data_ptr(), images, channels, pixels,
                _block_pixels(channels, channels_last), _address(scale), _address(noise), noise_images, _address(bias),
                slope, gain, _limit(clamp), *self._team(x),
            )  # fmt: skip
        return y

    def epilogue_backward(
        self,
        dy: torch.Tensor,
        y: torch.Tensor | None,
        x: torch.Tensor | None,
        scale: torch.Tensor | None,
        slope: float,
        gain: float,
        clamp: float | None,
        want_scale: bool,
        want_bias: bool,
        want_noise: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """(dx, dscale, dbias, dnoise) from dy, the result y (not needed if slope is 1 and clamp None), x (for dscale).

        dx has dy's type and layout; dscale (N, C), dbias (C,), dnoise (N, 1, H, W) are float32, or float64 for doubles.
        Those not wanted are None. The same bits for any number of threads.
        """
        if y is None and (slope != 1 or clamp is not None):
            raise ValueError("an activation needs its result y")
        if x is None and want_scale:
            raise ValueError("the gradient of the scale needs x")
        dy, channels_last = _dense(dy)
        images, channels, pixels = _sizes(dy)
        number = _computing_dtype(dy)
        y = _like(y if slope != 1 or clamp is not None else None, "y", dy)
        x = _like(x if want_scale else None, "x", dy)
        scale = _operand(scale, "scale", (images, channels), number)
        dx = torch.empty_like(dy)
        dscale = torch.zeros([images, channels], dtype=number) if want_scale else None
        dbias = torch.zeros([channels], dtype=number) if want_bias else None
        dnoise = torch.zeros([images, 1, *dy.shape[2:]], dtype=number) if want_noise else None
        if dy.numel() > 0:
            block = _block_pixels(channels, channels_last)
            sums = torch.empty([images * math.ceil(pixels / block), 2, channels], dtype=number)
            self.library.spinegan_epilogue_backward(
                DTYPES[dy.dtype], channels_last, dy.data_ptr(), _address(y), _address(x), _address(scale),
                dx.data_ptr(), _address(dscale), _address(dbias), _address(dnoise), sums.data_ptr(), images, channels,
                pixels, block, slope, gain, _limit(clamp), *self._team(dy),
            )  # fmt: skip
        return dx, dscale, dbias, dnoise

    def _team(self, x: torch.Tensor) -> tuple[int | None, int]:
        """The last two arguments of every function: the pool of threads and how many to use, one or all."""
        return self.parallel, torch.get_num_threads() if x.numel() >= 2 * ELEMENTS_PER_THREAD else 1


def _block_pixels(channels: int, channels_last: bool) -> int:
    """Pixels that are summed together. By shape alone, so that sums do not depend on threads."""
    return max(16, 32768 // channels) if channels_last else 4096


def _dense(x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """x (N, C, H, W) or (N, C) without gaps, and whether its channels are neighbours in memory."""
    _check(x)
    if x.ndim == 2:
        return x.contiguous(), True
    if x.ndim == 4 and x.shape[2] == x.shape[3] == 1:
        return (x if x.is_contiguous() else x.contiguous()), True
    return _dense_image(x)


def _dense_image(x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """x (N, C, H, W) without gaps, and whether its channels are neighbours; one channel counts as NCHW."""
    _check(x)
    if x.ndim != 4:
        raise ValueError(f"images are (N, C, H, W), got {tuple(x.shape)}")
    if x.shape[1] == 1 or x.is_contiguous():
        return x.contiguous(), False
    channels_last = x.stride(1) == 1
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format), channels_last


def _check(x: torch.Tensor) -> None:
    if x.device.type != "cpu" or x.layout != torch.strided or x.dtype not in DTYPES or x.is_neg():
        raise ValueError(f"the CPU kernels do not take a tensor of {x.dtype} on {x.device}, layout {x.layout}")


def _sizes(x: torch.Tensor) -> tuple[int, int, int]:
    """(images, channels, pixels)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _computing_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _operand(values: torch.Tensor | None, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
    """`values` of `shape`, dense, in the type that is computed in."""
    if values is None:
        return None
    _check(values)
    if values.shape != shape:
        raise ValueError(f"{name} is {tuple(shape)}, got {tuple(values.shape)}")
    return values.to(dtype).contiguous()


def _like(values: torch.Tensor | None, name: str, model: torch.Tensor) -> torch.Tensor | None:
    """`values` in the memory layout of `model`, whose shape and type they must have."""
    if values is None:
        return None
    _check(values)
    if values.shape != model.shape or values.dtype != model.dtype:
        raise ValueError(
            f"{name} is {tuple(model.shape)} of {model.dtype}, got {tuple(values.shape)} of {values.dtype}"
        )
    if values.stride() == model.stride():
        return values
    return torch.empty_like(model).copy_(values)


def _address(values: torch.Tensor | None) -> int | None:
    return None if values is None else values.data_ptr()


def _limit(clamp: float | None) -> float:
    return math.nan if clamp is None else clamp
