"""Which kernels are found, and what is said where there are none."""

import shutil

import pytest
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.ops import kernels
from stylegan2ada.ops.kernels import cpu, describe, find
from stylegan2ada.ops.kernels.unavailable import KernelsUnavailable

CPU = torch.device("cpu")


@pytest.fixture
def fresh_cache():
    """What was loaded is forgotten before and after."""
    for cached in (kernels._load, cpu.load):
        cached.cache_clear()
    yield
    for cached in (kernels._load, cpu.load):
        cached.cache_clear()


@pytest.fixture
def no_library(monkeypatch, tmp_path, fresh_cache):
    monkeypatch.setattr(cpu, "FOLDER", tmp_path)


@pytest.fixture
def built():
    if not cpu.runnable_libraries(cpu.FOLDER):
        pytest.skip("the CPU kernels were not built")


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("choice", ["auto", "fused"])
def test_the_cpu_kernels_are_found(built, choice, dtype):
    assert find(choice, CPU, dtype) is cpu.load()
    assert describe(choice, CPU).startswith("fused CPU kernels (")


def test_the_best_library_is_taken(built):
    best = next(iter(cpu.runnable_libraries(cpu.FOLDER)))
    assert cpu.load().instruction_set == cpu.INSTRUCTION_SETS[best]


def test_a_lesser_processor_gets_what_it_can_run(built, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert list(cpu.runnable_libraries(cpu.FOLDER)) == ["baseline"]


def test_reference_means_torch_operators():
    assert find("reference", CPU, torch.float32) is None
    assert describe("reference", CPU) == "torch operators (--kernels reference)"


def test_without_a_library_auto_falls_back_and_says_why(no_library):
    assert find("auto", CPU, torch.float32) is None
    line = describe("auto", CPU)
    assert "using torch operators" in line
    assert "install one" in line
    assert "\n" not in line


def test_without_a_library_fused_is_refused_in_one_line(no_library):
    with pytest.raises(UserError, match="--kernels fused: they were not built") as error:
        find("fused", CPU, torch.float32)
    assert "\n" not in str(error.value)


def test_a_type_without_kernels(built):
    assert find("auto", CPU, torch.int32) is None
    with pytest.raises(UserError, match="int32"):
        find("fused", CPU, torch.int32)


def test_a_device_without_kernels():
    assert find("auto", torch.device("meta"), torch.float32) is None
    with pytest.raises(UserError, match="--kernels fused"):
        find("fused", torch.device("meta"), torch.float32)


@pytest.mark.parametrize("ask", [lambda: find("fast", CPU, torch.float32), lambda: describe("fast", CPU)])
def test_an_unknown_choice_is_refused(ask):
    with pytest.raises(UserError, match="'fast' is unknown"):
        ask()


def test_loading_is_tried_once(monkeypatch, fresh_cache):
    calls = []

    def load(device):
        calls.append(device)
        raise KernelsUnavailable("not here")

    monkeypatch.setitem(kernels.LOADERS, "cpu", load)
    for _ in range(3):
        assert find("auto", CPU, torch.float32) is None
    assert calls == [CPU]


def test_a_library_of_other_sources_is_not_loaded(built, tmp_path, monkeypatch):
    """As after `git pull` without installing again: its functions may expect other arguments."""
    name, library = next(iter(cpu.runnable_libraries(cpu.FOLDER).items()))
    for file in cpu.FOLDER.iterdir():
        if file.suffix in (".h", ".cpp"):
            shutil.copy(file, tmp_path)
    monkeypatch.setattr(cpu, "FOLDER", tmp_path)
    cpu.open_library(name, library)
    with (tmp_path / "cpu_loops.h").open("a") as file:
        file.write("// changed\n")
    with pytest.raises(KernelsUnavailable, match="was built from other sources; install SpineGAN again"):
        cpu.open_library(name, library)
