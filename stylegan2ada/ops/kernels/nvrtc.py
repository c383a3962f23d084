"""CUDA C++ compiled at run time by NVRTC, each result kept on disk. No toolkit and no GPU are needed to compile.

NVRTC is found and called through NVIDIA's `cuda-bindings`; a CUDA build of torch brings the library itself.
"""

import functools
import hashlib
import importlib.metadata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import torch

from stylegan2ada.files import default_cache_dir, write_bytes

from .unavailable import KernelsUnavailable

# --ftz to --fmad are NVRTC's defaults, pinned: no fast-math, so a NaN stays a NaN and denormals are kept.
OPTIONS = ("--std=c++17", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--fmad=true")
INSTALL = "pip install 'spinegan[cuda]'"
_DIGEST_BYTES = 32


class CompileError(KernelsUnavailable):
    """NVRTC refused a source; `log` is what it said."""

    def __init__(self, name: str, architecture: str, log: str) -> None:
        self.log = log.strip()
        super().__init__(f"{name} does not compile for {architecture}: {self.log}")


@functools.cache
def bindings() -> ModuleType:
    """`cuda.bindings.nvrtc`, its library loaded. Raises KernelsUnavailable."""
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise KernelsUnavailable(f"the package cuda-bindings is missing ({error}); {INSTALL}") from error
    try:
        nvrtc.nvrtcVersion()
    except Exception as error:  # the loader of cuda-bindings has errors of its own, by version
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        wanted = (torch.version.cuda or "13").partition(".")[0]
        raise KernelsUnavailable(
            f"cuda-bindings {_installed_version()} finds no NVRTC library of its CUDA version ({reason}); "
            f"have both fit torch: pip install 'cuda-bindings=={wanted}.*'"
        ) from error
    return nvrtc


@functools.cache
def version() -> tuple[int, int]:
    """(major, minor) of NVRTC."""
    return tuple(_checked("nvrtcVersion", bindings().nvrtcVersion()))


def choose_architecture(capability: tuple[int, int]) -> str:
    """What to compile for, given a device's compute capability: its own machine code, sm_XY.

    For a device that this NVRTC does not know: PTX of the newest older one (compute_XY), which the driver translates.
    """
    wanted = 10 * capability[0] + capability[1]
    (known,) = _checked("nvrtcGetSupportedArchs", bindings().nvrtcGetSupportedArchs())
    if wanted in known:
        return f"sm_{wanted}"
    older = [number for number in known if number < wanted]
    if not older:
        raise KernelsUnavailable(f"NVRTC {_dotted(version())} does not know a GPU of compute capability {capability}")
    return f"compute_{max(older)}"


def compile_source(name: str, source: str, headers: Mapping[str, str], architecture: str) -> bytes:
    """Machine code (a cubin) for sm_XY, PTX for compute_XY. `headers`: what `source` includes. Raises CompileError."""
    nvrtc = bindings()
    (program,) = _checked(
        "nvrtcCreateProgram",
        nvrtc.nvrtcCreateProgram(
            source.encode(),
            name.encode(),
            len(headers),
            [text.encode() for text in headers.values()],
            [file.encode() for file in headers],
        ),
    )
    try:
        options = [option.encode() for option in (f"--gpu-architecture={architecture}", *OPTIONS)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(name, architecture, _log(program) or str(status))
        if architecture.startswith("sm_"):
            return _read(program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
        return _read(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def compile_cached(name: str, source: str, headers: Mapping[str, str], architecture: str) -> bytes:
    """`compile_source`, or its earlier result, kept in `kernels` of the cache folder. A damaged file is made anew."""
    key = _sha256(repr((source, sorted(headers.items()), architecture, OPTIONS, version())).encode()).hex()
    path = default_cache_dir() / "kernels" / f"{Path(name).stem}-{architecture}-{key[:32]}.cubin"
    code = _read_cached(path)
    if code is None:
        code = compile_source(name, source, headers, architecture)
        try:
            write_bytes(path, _sha256(code) + code)
        except OSError as error:
            warnings.warn(f"compiled CUDA kernels cannot be kept in {path.parent}: {error}", stacklevel=2)
    return code


def _installed_version() -> str:
    return importlib.metadata.version("cuda-bindings")


def _read_cached(path: Path) -> bytes | None:
    """The code in a cache file, which begins with its SHA-256; None unless both fit."""
    try:
        data = path.read_bytes()
    except OSError:  # not there, or not readable: then it is compiled
        return None
    digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return code if code and _sha256(code) == digest else None


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _log(program: object) -> str:
    nvrtc = bindings()
    return _read(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode(errors="replace").rstrip("\0")


def _read(program: object, size_of, read) -> bytes:
    (size,) = _checked("NVRTC", size_of(program))
    buffer = bytearray(size)
    _checked("NVRTC", read(program, buffer))
    return bytes(buffer)


def _checked(what: str, result: tuple) -> Sequence:
    """The values of a call of cuda-bindings, whose first is a status."""
    status, *values = result
    if status.value != 0:
        raise KernelsUnavailable(f"{what} failed: {status}")
    return values


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))
