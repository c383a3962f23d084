"""The CPU kernels as a library: how it is found, the tensors it takes, the threads it runs on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylegan2ada.ops.kernels import cpu
from stylegan2ada.ops.kernels.unavailable import KernelsUnavailable

from .cpu_checks import LAYOUTS, activate, assert_close, fir_reference, mask, random_images


def test_the_library_was_built_where_a_compiler_is_at_hand():
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        pytest.skip("no C++ compiler on PATH, so no CPU kernels")
    assert "baseline" in cpu.runnable_libraries(cpu.FOLDER), f"nothing built in {cpu.FOLDER}: run `pip install -e .`"


def test_a_file_that_is_no_library_is_reported(tmp_path):
    path = tmp_path / "_cpu_baseline.so"
    path.write_bytes(b"not a library")
    with pytest.raises(KernelsUnavailable, match="not usable"):
        cpu.open_library("baseline", path)


# ---- memory, types, threads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, :, 1:-2, 3:],
        lambda x: x[:, 1::2],
        lambda x: x.flip(3).transpose(2, 3),
        lambda x: x[:1].expand(3, -1, -1, -1),
        lambda x: x[..., ::2],
    ],
    ids=["crop", "some channels", "transposed", "expanded", "some columns"],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_view_may_come_in(kernels, layout, view):
    x = view(random_images((2, 20, 12, 14), torch.float32, layout))
    f, arguments = torch.randn(4, 4), ((2, 2), (1, 1), (2, 1, 2, 1), True, 2.0)
    assert_close(kernels.fir(x, f, *arguments), fir_reference(x, f, *arguments), torch.float32, scale=20)
    y = kernels.epilogue(x, None, None, None, 0.2, 1.5, 0.5)
    assert_close(y, activate(x.double(), 0.2, 1.5, 0.5), torch.float32)
    dx, _, dbias, _ = kernels.epilogue_backward(x, y, None, None, 0.2, 1.5, 0.5, False, True, False)
    expected = x.double() * mask(y, 0.2, 1.5, 0.5)
    assert_close(dx, expected, torch.float32)
    assert_close(dbias, expected.sum((0, 2, 3)), torch.float32, scale=10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [1, 64])  # single numbers and vectors
def test_every_16_bit_number_is_read_and_written_as_torch_does(kernels, dtype, channels):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    x = every.reshape(-1, channels)
    y = kernels.epilogue(x, None, None, None, 1.0, 1.0, None)
    torch.testing.assert_close(y, x, rtol=0, atol=0, equal_nan=True)
    halves = torch.full((channels,), 0.5)
    for scale in (1 / 3, 1.00390625, 2.0**-14, 3.0):  # inexact; ties; subnormal and overflowing results
        got = kernels.epilogue(x, torch.full(x.shape, scale), None, halves * 0, 1.0, 1.0, None)
        torch.testing.assert_close(got, (x.float() * scale).to(dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_number_of_threads_changes_no_bit(kernels, dtype, layout, threads):
    x = random_images((3, 70, 37, 41), dtype, layout)
    dy, scale, noise, bias = torch.randn_like(x), torch.rand(3, 70), torch.randn(3, 1, 37, 41), torch.randn(70)
    f = torch.randn(4, 4)

    def results():
        y = kernels.epilogue(x, scale, noise, bias, 0.2, 1.5, 2.0)
        gradients = kernels.epilogue_backward(dy, y, x, scale, 0.2, 1.5, 2.0, True, True, True)
        return [y, *gradients, kernels.fir(x, f, (2, 2), (1, 1), (2, 1, 2, 1), False, 1.0)]

    threads(1)
    alone = results()
    for number in (2, 3):
        threads(number)
        for together, one in zip(results(), alone, strict=True):
            assert torch.equal(together, one)


def test_the_threads_are_those_of_torch(kernels):
    if torch.backends.openmp.is_available() and Path("/proc/self/maps").exists():
        assert kernels.parallel, "torch runs on OpenMP here, but its GOMP_parallel was not found"


ROUNDS = """
import os
import torch
from stylegan2ada.ops.kernels import cpu

torch.set_num_threads(4)
kernels = cpu.load()
large, f = torch.randn(2**20), torch.ones(4, 4)
x = torch.randn(1, 40, 32, 32)  # enough for two threads, not for four
y, noise, scale = torch.randn_like(x), torch.randn(1, 1, 32, 32), torch.ones(1, 40)


def threads_after_a_torch_operation():
    large.mul(2)
    return set(os.listdir("/proc/self/task"))


before = threads_after_a_torch_operation()
for _ in range(20):
    kernels.epilogue(x, scale, noise, None, 0.2, 1.0, None)
    kernels.epilogue_backward(y, y, x, scale, 0.2, 1.0, None, True, True, True)
    kernels.fir(x, f, (1, 1), (1, 1), (2, 1, 2, 1), False, 1.0)
    after = threads_after_a_torch_operation()
    assert after == before, f"{len(after - before)} of {len(after)} threads are new"
print(len(before))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed on Linux only")
def test_no_thread_of_torch_is_ended():
    """A team smaller than torch's would make its OpenMP library end threads, and start them anew for the next one."""
    if not (cpu.runnable_libraries(cpu.FOLDER) and cpu.load().parallel):
        pytest.skip("no CPU kernels on torch's threads")
    result = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 4
