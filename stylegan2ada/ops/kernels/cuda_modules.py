"""The CUDA kernels of one device: compiled, loaded and launched through NVIDIA's driver interface."""

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import torch

from . import nvrtc
from .unavailable import KernelsUnavailable

Dims = tuple[int, int, int]

TYPE_NAMES = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bf16", torch.float16: "fp16"}
HEADERS = ("bodies.h", "cuda_memory.h", "cuda_numbers.h")
SOURCES = ("cuda_fir.cu", "cuda_epilogue.cu")
THREADS = 256  # of the largest block; as in cuda_memory.h

# {T}: what is stored, {N}: neighbours per thread; every kernel takes one structure.
_TEMPLATES = {
    "cuda_fir.cu": {
        "fir": "fir<{T}, {N}>(FirParams)",
        "fir_up1_down1": "fir_4x4<{T}, {N}, 1, 1>(FirParams)",
        "fir_up2_down1": "fir_4x4<{T}, {N}, 2, 1>(FirParams)",
        "fir_up1_down2": "fir_4x4<{T}, {N}, 1, 2>(FirParams)",
    },
    "cuda_epilogue.cu": {
        "epilogue_pixels": "epilogue_pixels<{T}, {N}>(EpilogueParams)",
        "epilogue_planes": "epilogue_planes<{T}, {N}>(EpilogueParams)",
        "epilogue_backward_pixels": "epilogue_backward_pixels<{T}, {N}>(EpilogueBackwardParams)",
        "epilogue_backward_planes": "epilogue_backward_planes<{T}, {N}>(EpilogueBackwardParams)",
    },
}


class LaunchError(RuntimeError):
    """The CUDA driver refused to load or launch a kernel."""


def neighbours(dtype: torch.dtype) -> int:
    """How many numbers of `dtype` one thread loads at once: 16 bytes' worth."""
    return 16 // dtype.itemsize


def entry_points(file: str, dtype: torch.dtype) -> dict[tuple[str, int], str]:
    """(kernel, neighbours per thread) -> its instantiation, of all kernels in a source file."""
    sizes = (neighbours(dtype), 1)
    return {(k, n): t.format(T=TYPE_NAMES[dtype], N=n) for k, t in _TEMPLATES[file].items() for n in sizes}


def entry_name(kernel: str, size: int) -> str:
    return f"spinegan_{kernel}_{size}"


def read_headers() -> dict[str, str]:
    """What the sources include, by name."""
    return {name: _text(name) for name in HEADERS}


def source_with_entry_points(file: str, dtype: torch.dtype) -> str:
    """The source file, followed by an `extern "C"` kernel per instantiation for `dtype`."""
    lines = [_text(file), "using namespace spinegan;"]
    for (kernel, size), instantiation in entry_points(file, dtype).items():
        body, structure = instantiation.removesuffix(")").rsplit("(", 1)
        lines.append(
            f'extern "C" __global__ void __launch_bounds__({THREADS}) '
            f"{entry_name(kernel, size)}(const {structure} params) {{ {body}(params); }}"
        )
    return "\n".join(lines) + "\n"


def compile_all(architecture: str) -> dict[tuple[str, torch.dtype], bytes]:
    """(source file, dtype) -> code with all of its kernels. Raises CompileError."""
    headers = read_headers()
    jobs = [(file, dtype) for file in SOURCES for dtype in TYPE_NAMES]

    def compiled(job: tuple[str, torch.dtype]) -> bytes:
        return nvrtc.compile_cached(job[0], source_with_entry_points(*job), headers, architecture)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # NVRTC runs without Python's lock
        return dict(zip(jobs, pool.map(compiled, jobs), strict=True))


class CudaLauncher:
    """The loaded kernels of one device. All are loaded at once: nothing can fail, or wait, in the middle of a run."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.architecture = nvrtc.choose_architecture(torch.cuda.get_device_capability(device))
        codes = compile_all(self.architecture)
        self._driver = _driver()
        self._context = _primary_context(device.index)
        self._functions: dict[tuple[torch.dtype, str, int], object] = {}
        with torch.cuda.device(device):
            self._call("cuCtxSetCurrent", self._context)
            # A graph capture that is under way elsewhere need not forbid loading.
            relaxed = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
            before = self._call("cuThreadExchangeStreamCaptureMode", relaxed)
            try:
                for (file, dtype), code in codes.items():
                    module = self._call("cuModuleLoadData", code)
                    for kernel, size in entry_points(file, dtype):
                        name = entry_name(kernel, size).encode()
                        self._functions[dtype, kernel, size] = self._call("cuModuleGetFunction", module, name)
            finally:
                self._call("cuThreadExchangeStreamCaptureMode", before)

    def launch(
        self, dtype: torch.dtype, kernel: str, size: int, grid: Dims, block: Dims, params: ctypes.Structure
    ) -> None:
        """Enqueues a kernel on torch's current stream of the device; returns at once. size: neighbours per thread."""
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(params))
        stream = torch.cuda.current_stream(self.device).cuda_stream
        with torch.cuda.device(self.device):
            self._call("cuCtxSetCurrent", self._context)  # a thread of autograd's may not have touched CUDA yet
            self._call(
                "cuLaunchKernel",
                self._functions[dtype, kernel, size], *grid, *block, 0, stream, ctypes.addressof(pointers), 0,
            )  # fmt: skip

    def _call(self, name: str, *arguments: object) -> object:
        return _call(self._driver, name, *arguments)


@functools.cache
def _driver() -> ModuleType:
    nvrtc.bindings()  # which says clearly what is missing
    from cuda.bindings import driver

    # Machine code of a CUDA version needs a driver of at least that version's first release.
    installed, needed = _call(driver, "cuDriverGetVersion") // 1000, nvrtc.version()[0]
    if installed < needed:
        raise KernelsUnavailable(
            f"the GPU driver is for CUDA {installed}, the installed NVRTC compiles for CUDA {needed}; "
            f"pip install 'cuda-bindings=={installed}.*' with NVRTC of CUDA {installed}, or update the driver"
        )
    return driver


@functools.cache
def _primary_context(index: int) -> object:
    """The context that torch uses too. It is kept until the process ends."""
    driver = _driver()
    return _call(driver, "cuDevicePrimaryCtxRetain", _call(driver, "cuDeviceGet", index))


def _call(driver: ModuleType, name: str, *arguments: object) -> object:
    try:
        status, *values = getattr(driver, name)(*arguments)
    except RuntimeError as error:  # the driver is missing, or too old for the function
        raise LaunchError(f"{name}: {error}") from error
    if status != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(status)
        raise LaunchError(f"{name}: {text.decode() if text else status}")
    return values[0] if values else None


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
