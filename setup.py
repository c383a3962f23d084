"""Builds the fused CPU kernels where a C++ compiler is at hand. All else about the package stands in setup.cfg.

One library per instruction set, each optional: without one that compiles, SpineGAN runs on torch's operators
and says so. They are plain shared libraries, not Python modules: `stylegan2ada/ops/kernels/cpu.py` loads the best one.
"""

import hashlib
import platform
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = "stylegan2ada/ops/kernels"
INSTRUCTION_SETS = {  # name -> options of gcc and clang, options of Microsoft's compiler
    "baseline": ([], []),
    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
    "avx512": (["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"], ["/arch:AVX512"]),
}


SOURCES = [f"{FOLDER}/bodies.h", *sorted(glob(f"{FOLDER}/cpu*.h")), f"{FOLDER}/cpu.cpp"]


def sources_hash():
    """As in cpu.py, which this cannot import: torch may not be there yet."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in SOURCES)).hexdigest()[:16]


class BuildLibraries(build_ext):
    def get_export_symbols(self, ext):
        return ext.export_symbols  # no PyInit_...: these are no Python modules

    def build_extension(self, ext):
        common, options = ["-std=c++17", "-O3", "-fvisibility=hidden"], 0
        if self.compiler.compiler_type == "msvc":
            common, options = ["/std:c++17", "/O2"], 1
        ext.extra_compile_args = common + INSTRUCTION_SETS[ext.name.rpartition("_")[2]][options]
        super().build_extension(ext)


on_x86 = platform.machine().lower() in ("x86_64", "amd64")
setup(
    cmdclass={"build_ext": BuildLibraries},
    ext_modules=[
        Extension(
            f"stylegan2ada.ops.kernels._cpu_{name}",
            [f"{FOLDER}/cpu.cpp"],
            depends=SOURCES,
            define_macros=[("SPINEGAN_SOURCES", f"0x{sources_hash()}ULL")],
            language="c++",
            optional=True,
        )
        for name in (INSTRUCTION_SETS if on_x86 else ["baseline"])
    ],
)
