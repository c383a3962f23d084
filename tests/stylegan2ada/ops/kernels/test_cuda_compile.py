"""The CUDA kernels compile, without a GPU, for every GPU that matters; compiled code is kept; failures are told."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.ops import kernels
from stylegan2ada.ops.kernels import cuda, cuda_modules, nvrtc
from stylegan2ada.ops.kernels.unavailable import KernelsUnavailable

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
HAS_NVRTC = True
try:
    nvrtc.bindings()
except KernelsUnavailable as reason:
    HAS_NVRTC, WHY_NOT = False, str(reason)
needs_nvrtc = pytest.mark.skipif(not HAS_NVRTC, reason="" if HAS_NVRTC else WHY_NOT)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINEGAN_CACHE", str(tmp_path))
    return tmp_path / "kernels"


@needs_nvrtc
def test_every_instantiation_compiles():
    headers = cuda_modules.read_headers()
    jobs = [(s, t, a) for s in cuda_modules.SOURCES for t in cuda_modules.TYPE_NAMES for a in ARCHITECTURES]

    def code_of(job):
        source, dtype, architecture = job
        text = cuda_modules.source_with_entry_points(source, dtype)
        return nvrtc.compile_source(source, text, headers, architecture)

    with ThreadPoolExecutor(2) as pool:
        for (source, dtype, _), code in zip(jobs, pool.map(code_of, jobs), strict=True):
            assert code.startswith(b"\x7fELF")
            for key in cuda_modules.entry_points(source, dtype):
                assert f".text.{cuda_modules.entry_name(*key)}\0".encode() in code


@needs_nvrtc
def test_architecture():
    assert nvrtc.choose_architecture((9, 0)) == "sm_90"
    assert nvrtc.choose_architecture((99, 0)).startswith("compute_")  # a GPU of the future: PTX
    with pytest.raises(KernelsUnavailable, match=r"capability \(3, 0\)"):
        nvrtc.choose_architecture((3, 0))
    text = nvrtc.compile_source("a.cu", 'extern "C" __global__ void a() {}', {}, nvrtc.choose_architecture((99, 0)))
    assert b".visible .entry a(" in text


SMALL = '#include "value.h"\nextern "C" __global__ void small(float* x) { x[threadIdx.x] = VALUE; }'


@needs_nvrtc
class TestCache:
    def compiled(self, architecture="sm_90", value=1):
        headers = {"value.h": f"#define VALUE {value}"}
        return nvrtc.compile_cached("small.cu", SMALL, headers, architecture)

    @pytest.fixture
    def compilations(self, monkeypatch):
        """What was compiled rather than read."""
        calls, compile_source = [], nvrtc.compile_source
        monkeypatch.setattr(nvrtc, "compile_source", lambda *a: calls.append(a) or compile_source(*a))
        return calls

    def test_hit(self, cache, compilations):
        assert self.compiled() == self.compiled()
        assert len(compilations) == 1
        assert [path.suffix for path in cache.iterdir()] == [".cubin"]

    @pytest.mark.parametrize("changed", [{"architecture": "sm_80"}, {"value": 2}])
    def test_another_architecture_or_header(self, cache, compilations, changed):
        assert self.compiled() != self.compiled(**changed)
        assert len(compilations) == 2
        assert len(list(cache.iterdir())) == 2

    def test_another_nvrtc(self, cache, compilations, monkeypatch):
        self.compiled()
        monkeypatch.setattr(nvrtc, "version", lambda: (12, 0))
        self.compiled()
        assert len(compilations) == 2

    @pytest.mark.parametrize(
        "damage",
        [lambda data: data[:-1], lambda data: b"", lambda data: data[:32], lambda data: data[:40] + b"?" + data[41:]],
        ids=["shorter", "empty", "no code", "another byte"],
    )
    def test_damaged(self, cache, compilations, damage):
        code = self.compiled()
        (path,) = cache.iterdir()
        sound = path.read_bytes()
        path.write_bytes(damage(sound))
        assert self.compiled() == code
        assert len(compilations) == 2
        assert path.read_bytes() == sound

    def test_a_folder_that_cannot_be_written(self, cache, compilations):
        cache.write_text("a file where the folder should be")
        with pytest.warns(UserWarning, match="cannot be kept"):
            code = self.compiled()
        assert code.startswith(b"\x7fELF")


@needs_nvrtc
def test_a_source_with_an_error():
    with pytest.raises(nvrtc.CompileError) as error:
        nvrtc.compile_source("wrong.cu", "__global__ void f() { nonsense; }", {}, "sm_90")
    assert 'identifier "nonsense" is undefined' in error.value.log
    assert error.value.log in str(error.value)


@pytest.fixture
def fake_gpu(monkeypatch):
    """A CUDA device as far as compiling goes."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    for function in (kernels._load, cuda._load, nvrtc.bindings):
        function.cache_clear()
    yield torch.device("cuda", 0)
    for function in (kernels._load, cuda._load, nvrtc.bindings):
        function.cache_clear()


@needs_nvrtc
def test_a_failed_compile_falls_back_and_shows_its_log(fake_gpu, cache, monkeypatch):
    sound, calls = cuda_modules.source_with_entry_points, []

    def broken(file, dtype):
        calls.append(file)
        return sound(file, dtype) + "nonsense;"

    monkeypatch.setattr(cuda_modules, "source_with_entry_points", broken)
    for _ in range(3):
        assert kernels.find("auto", fake_gpu, torch.bfloat16) is None
        assert "nonsense" in kernels.describe("auto", fake_gpu)
    with pytest.raises(UserError, match="nonsense"):
        kernels.find("fused", fake_gpu, torch.bfloat16)
    assert len(calls) <= len(cuda_modules.SOURCES) * len(cuda_modules.TYPE_NAMES)  # tried once


def test_a_missing_package(fake_gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    line = kernels.describe("auto", fake_gpu)
    assert "\n" not in line
    assert "cuda-bindings is missing" in line
    assert "pip install 'spinegan[cuda]'" in line
    assert kernels.find("auto", fake_gpu, torch.float32) is None
    with pytest.raises(UserError, match="cuda-bindings is missing"):
        kernels.find("fused", fake_gpu, torch.float32)


def test_no_device():
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device"):
            kernels.find("fused", torch.device("cuda"), torch.float32)


def test_limits_are_those_of_the_sources():
    text = "".join(cuda_modules._text(name) for name in (*cuda_modules.SOURCES, *cuda_modules.HEADERS))
    for name, value in {
        "THREADS": cuda_modules.THREADS,
        "LARGEST_FILTER": cuda._LARGEST_FILTER,
        "TILE": cuda._TILE,
        "PLANE_CHANNELS": cuda._PLANE_CHANNELS,
    }.items():
        assert f"constexpr int {name} = {value};" in text
