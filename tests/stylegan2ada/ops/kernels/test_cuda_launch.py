"""What reaches the CUDA driver when a kernel is launched, told to a driver that only listens."""

import contextlib
import ctypes
import enum
import types

import pytest
import torch

from stylegan2ada.ops.kernels import cuda_modules, nvrtc
from stylegan2ada.ops.kernels.cuda_modules import CudaLauncher, LaunchError
from stylegan2ada.ops.kernels.cuda_params import EpilogueParams


class Status(enum.Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1


class ListeningDriver:
    """The part of `cuda.bindings.driver` that is used."""

    CUresult = Status
    CUstreamCaptureMode = types.SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed")

    def __init__(self):
        self.calls, self.launches, self.status = [], [], Status.CUDA_SUCCESS

    def cuGetErrorString(self, status):
        return Status.CUDA_SUCCESS, b"invalid argument"

    def cuLaunchKernel(self, *arguments):
        *launch, pointers, extra = arguments
        (address,) = (ctypes.c_void_p * 1).from_address(pointers)
        self.launches.append((launch, EpilogueParams.from_address(address).channels, extra))
        return (self.status,)

    def cuModuleGetFunction(self, module, name):
        return Status.CUDA_SUCCESS, (module, name.decode())

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            return Status.CUDA_SUCCESS, arguments[0]

        return call


@pytest.fixture
def driver(monkeypatch):
    driver = ListeningDriver()
    codes = {(file, dtype): f"{file} {dtype}" for file in cuda_modules.SOURCES for dtype in cuda_modules.TYPE_NAMES}
    monkeypatch.setattr(cuda_modules, "_driver", lambda: driver)
    monkeypatch.setattr(cuda_modules, "_primary_context", lambda index: f"context {index}")
    monkeypatch.setattr(cuda_modules, "compile_all", lambda architecture: codes)
    monkeypatch.setattr(nvrtc, "choose_architecture", lambda capability: "sm_90")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    stream = types.SimpleNamespace(cuda_stream=77)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream if device.index == 1 else None)
    return driver


def test_loading_and_launching(driver):
    launcher = CudaLauncher(torch.device("cuda", 1))
    modes = [call[1] for call in driver.calls if call[0] == "cuThreadExchangeStreamCaptureMode"]
    assert modes == ["relaxed", "relaxed"]  # there, and back to what the driver called the mode before
    driver.calls.clear()
    params = EpilogueParams(*[0] * 10, 24)
    launcher.launch(torch.bfloat16, "epilogue_planes", 8, (1, 2, 3), (32, 4, 1), params)
    assert driver.calls == [("cuCtxSetCurrent", "context 1")]
    ((launch, channels, extra),) = driver.launches
    function = ("cuda_epilogue.cu torch.bfloat16", "spinegan_epilogue_planes_8")
    assert launch == [function, 1, 2, 3, 32, 4, 1, 0, 77]
    assert (channels, extra) == (24, 0)


def test_a_refused_launch(driver):
    launcher = CudaLauncher(torch.device("cuda", 1))
    driver.status = Status.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(LaunchError, match="cuLaunchKernel: invalid argument"):
        launcher.launch(torch.float32, "fir", 1, (1, 1, 1), (1, 1, 1), EpilogueParams())
