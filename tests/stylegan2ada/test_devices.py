"""Choosing the device and its precision."""

import pytest
import torch

from stylegan2ada import devices
from stylegan2ada.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class TestResolvePrecision:
    @pytest.mark.parametrize("name", ["fp32", "bf16"])
    def test_a_named_one_is_taken(self, name):
        assert devices.resolve_precision(name, CPU) == name

    def test_float16_needs_cuda(self):
        with pytest.raises(UserError, match="--precision fp16 needs a CUDA device, this is cpu: use bf16 or fp32"):
            devices.resolve_precision("fp16", CPU)

    @pytest.mark.parametrize(("fast", "expected"), [(True, "bf16"), (False, "fp32")])
    def test_auto_on_a_cpu(self, monkeypatch, fast, expected):
        monkeypatch.setattr(devices, "cpu_has_fast_bf16", lambda: fast)
        assert devices.resolve_precision("auto", CPU) == expected

    @pytest.mark.parametrize(("capability", "expected"), [((7, 0), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
    def test_auto_on_cuda(self, monkeypatch, capability, expected):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        assert devices.resolve_precision("auto", CUDA) == expected

    def test_the_question_about_this_cpu_has_an_answer(self):
        assert devices.cpu_has_fast_bf16() in (True, False)


class TestChooseDevice:
    @pytest.mark.parametrize(("has_cuda", "expected"), [(True, "cuda"), (False, "cpu")])
    def test_auto_is_never_mps(self, monkeypatch, has_cuda, expected):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert devices.choose_device("auto").type == expected

    def test_mps_by_name(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert devices.choose_device("mps") == torch.device("mps")

    @pytest.mark.parametrize(("name", "module"), [("mps", torch.backends.mps), ("cuda", torch.cuda)])
    def test_a_device_that_is_not_there(self, monkeypatch, name, module):
        monkeypatch.setattr(module, "is_available", lambda: False)
        with pytest.raises(UserError, match=f"--device {name}: .* use --device cpu"):
            devices.choose_device(name)
