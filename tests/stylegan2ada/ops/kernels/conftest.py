"""Fixtures of the kernels' tests."""

import pytest
import torch

from stylegan2ada.ops.kernels import cpu
from stylegan2ada.ops.kernels.tensors import DTYPES

LIBRARIES = cpu.runnable_libraries(cpu.FOLDER)


@pytest.fixture(params=cpu.INSTRUCTION_SETS)
def kernels(request) -> cpu.CpuKernels:
    """Every library that was built and that this processor runs."""
    if request.param not in LIBRARIES:
        pytest.skip(f"the CPU kernels for {cpu.INSTRUCTION_SETS[request.param]} were not built or do not run here")
    return cpu.open_library(request.param, LIBRARIES[request.param])


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture
def threads():
    """Sets the number of threads, restored afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
