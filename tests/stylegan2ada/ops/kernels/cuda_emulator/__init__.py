"""Runs the CUDA kernels' own sources on the CPU, thread by thread: what can be known of them without a GPU."""

import ctypes
import subprocess
from pathlib import Path

import torch

from stylegan2ada.ops.kernels import cuda_modules
from stylegan2ada.ops.kernels.cuda import CudaKernels

_HERE = Path(__file__).parent
_SOURCES = Path(cuda_modules.__file__).parent


def build(folder: Path, dtype: torch.dtype, compiler: str) -> CudaKernels:
    """The kernels for CPU tensors of `dtype`, their libraries built in `folder`."""
    # Includes in quotes look beside the including file first: copies put ours before the real cuda_numbers.h.
    for file in ("bodies.h", "cuda_memory.h"):
        (folder / file).write_text((_SOURCES / file).read_text())
    for file in ("cuda_numbers.h", "emulator.h"):
        (folder / file).write_text((_HERE / file).read_text())
    libraries = {}
    for source in cuda_modules.SOURCES:
        text = folder / f"{Path(source).stem}_{cuda_modules.TYPE_NAMES[dtype]}.cpp"
        text.write_text(cuda_modules.source_with_entry_points(source, dtype) + _runners(source, dtype))
        library = text.with_suffix(".so")
        command = [compiler, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", str(text), "-o", str(library)]
        subprocess.run(command, check=True)
        opened = ctypes.CDLL(str(library))
        libraries |= dict.fromkeys(cuda_modules.entry_points(source, dtype), opened)
    return CudaKernels(_Launcher(libraries))


def _runners(source: str, dtype: torch.dtype) -> str:
    """A C function per entry point, which runs its whole grid."""
    lines = []
    for key, instantiation in cuda_modules.entry_points(source, dtype).items():
        name, structure = cuda_modules.entry_name(*key), instantiation[:-1].rpartition("(")[2]
        lines.append(
            f'extern "C" int run_{name}(const unsigned int* grid, const unsigned int* block, const void* params) {{\n'
            "    misaligned = false;\n"
            f"    const {structure}& p = *static_cast<const {structure}*>(params);\n"
            f"    return emulator::run(grid, block, [&] {{ {name}(p); }}) ? (misaligned ? 2 : 0) : 1;\n}}"
        )
    return "\n".join(lines) + "\n"


class _Launcher:
    """What CudaKernels needs of a device."""

    device = torch.device("cpu")

    def __init__(self, libraries: dict[tuple[str, int], ctypes.CDLL]) -> None:
        self._libraries = libraries
        self.launched: set[tuple[str, int]] = set()

    def launch(self, dtype, kernel, size, grid, block, params) -> None:
        assert block[0] * block[1] * block[2] <= cuda_modules.THREADS
        assert block[2] <= 64
        assert min(grid) >= 1
        assert max(grid[1:]) <= 65_535
        run = self._libraries[kernel, size][f"run_{cuda_modules.entry_name(kernel, size)}"]
        status = run((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), ctypes.byref(params))
        assert status == 0, {1: "threads wait at different barriers", 2: "misaligned access"}[status]
        self.launched.add((kernel, size))
