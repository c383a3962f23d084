"""The CUDA kernels' own sources and launches, run on the CPU (see cuda_emulator), against the definitions."""

import os
import shutil

import pytest
import torch

from stylegan2ada.ops.kernels.cuda_modules import SOURCES, entry_points

from . import cuda_checks as checks
from .cuda_emulator import build

COMPILER = os.environ.get("CXX") or shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def layouts_of(dtype):
    """All of them for one type: how they are read does not depend on it."""
    return checks.LAYOUTS if dtype == torch.bfloat16 else checks.LAYOUTS[:2]


@pytest.fixture(scope="module", params=checks.TOLERANCES, ids=str)
def kernels_and_dtype(request, tmp_path_factory):
    return build(tmp_path_factory.mktemp("emulated"), request.param, COMPILER), request.param


def test_every_kernel_computes_its_definition(kernels_and_dtype):
    kernels, dtype = kernels_and_dtype
    for layout in layouts_of(dtype):
        for shape in checks.FIR_SHAPES:
            checks.check_fir(kernels, dtype, "cpu", shape, layout)
        for shape in checks.EPILOGUE_SHAPES:
            checks.check_epilogue(kernels, dtype, "cpu", shape, layout)
            checks.check_epilogue_backward(kernels, dtype, "cpu", shape, layout)
    assert kernels.launcher.launched == {entry for source in SOURCES for entry in entry_points(source, dtype)}


def test_extremes(kernels_and_dtype):
    kernels, dtype = kernels_and_dtype
    checks.check_extremes(kernels, dtype, "cpu")


def test_empty(kernels_and_dtype):
    checks.check_empty(kernels_and_dtype[0], "cpu")
