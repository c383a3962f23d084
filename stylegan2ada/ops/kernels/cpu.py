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

from .tensors import DTYPES, address, computing_dtype, dense, dense_image, empty_filtered, like, limit, operand, sizes
from .unavailable import KernelsUnavailable

FOLDER = Path(__file__).resolve().parent
CPU = torch.device("cpu")
INSTRUCTION_SETS = {"avx512": "AVX-512", "avx2": "AVX2", "baseline": "baseline instruction set"}  # best first

# Below this many elements a second thread costs more than it saves.
ELEMENTS_PER_THREAD = 16384

_INT, _LONG, _DOUBLE, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_double, ctypes.c_void_p
_TEAM = [_POINTER, _INT]


@functools.cache
def load() -> "CpuKernels":
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
        x, channels_last = dense_image(x, CPU)
        if f.ndim != 2 or f.numel() == 0:
            raise ValueError(f"a filter is (fh, fw), got {tuple(f.shape)}")
        f = operand(f.to(computing_dtype(x)), "f", f.shape, x)
        f = ((f if flip_filter else f.flip([0, 1])) * gain).contiguous()
        y = empty_filtered(x, channels_last, f, up, down, padding)
        if y.numel() == 0:
            return y
        done = self.library.spinegan_fir(
            _type(x), channels_last, x.data_ptr(), y.data_ptr(), *x.shape, *y.shape[2:], f.data_ptr(), *f.shape,
            *up, *down, padding[0], padding[2], *self._team(y),
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
        x, channels_last = dense(x, CPU)
        images, channels, pixels = sizes(x)
        noise_images = 0 if noise is None else noise.shape[0]
        scale = operand(scale, "scale", (images, channels), x)
        noise = operand(noise, "noise", (images if noise_images == images else 1, 1, *x.shape[2:]), x)
        bias = operand(bias, "bias", (channels,), x)
        y = torch.empty_like(x)
        if y.numel() > 0:
            self.library.spinegan_epilogue(
                _type(x), channels_last, x.data_ptr(), y.data_ptr(), images, channels, pixels,
                _block_pixels(channels, channels_last), address(scale), address(noise), noise_images, address(bias),
                slope, gain, limit(clamp), *self._team(x),
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
        dy, channels_last = dense(dy, CPU)
        images, channels, pixels = sizes(dy)
        number = computing_dtype(dy)
        y = like(y, "y", dy) if slope != 1 or clamp is not None else None
        x = like(x, "x", dy) if want_scale else None
        scale = operand(scale, "scale", (images, channels), dy)
        dx = torch.empty_like(dy)
        dscale = torch.zeros([images, channels], dtype=number) if want_scale else None
        dbias = torch.zeros([channels], dtype=number) if want_bias else None
        dnoise = torch.zeros([images, 1, *dy.shape[2:]], dtype=number) if want_noise else None
        if dy.numel() > 0:
            block = _block_pixels(channels, channels_last)
            sums = torch.empty([images * math.ceil(pixels / block), 2, channels], dtype=number)
            self.library.spinegan_epilogue_backward(
                _type(dy), channels_last, dy.data_ptr(), address(y), address(x), address(scale), dx.data_ptr(),
                address(dscale), address(dbias), address(dnoise), sums.data_ptr(), images, channels, pixels, block,
                slope, gain, limit(clamp), *self._team(dy),
            )  # fmt: skip
        return dx, dscale, dbias, dnoise

    def _team(self, x: torch.Tensor) -> tuple[int | None, int]:
        """The last two arguments of every function: the pool of threads and how many to use, one or all."""
        return self.parallel, torch.get_num_threads() if x.numel() >= 2 * ELEMENTS_PER_THREAD else 1


def _block_pixels(channels: int, channels_last: bool) -> int:
    """Pixels that are summed together. By shape alone, so that sums do not depend on threads."""
    return max(16, 32768 // channels) if channels_last else 4096


def _type(x: torch.Tensor) -> int:
    """`type` in cpu.cpp."""
    return DTYPES.index(x.dtype)
