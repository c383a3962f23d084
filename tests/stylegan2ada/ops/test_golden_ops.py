"""The operators against numbers of the official code, first and second gradients included."""

import json
from pathlib import Path

import pytest
import torch

from stylegan2ada.ops import bias_act, conv2d_resample, modulated_conv2d, setup_filter, upfirdn2d
from tests.golden import Golden, assert_golden

DATA = Path(__file__).parents[2] / "data"
CASES = json.loads((DATA / "ops.json").read_text())


def cases_of(op: str) -> list:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["op"] == op]


@pytest.fixture(params=["auto", "reference"])
def kernels(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(DATA, "ops")


def inputs(golden: Golden, case: dict, *names: str) -> list[torch.Tensor]:
    return [golden[f"{case['id']}/{name}"].requires_grad_() for name in names]


def both_formats(x: torch.Tensor) -> list[torch.Tensor]:
    return [x, x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()]


@pytest.mark.parametrize("case", cases_of("upfirdn2d"))
def test_upfirdn2d(golden: Golden, case: dict, kernels: str) -> None:
    f = setup_filter(case["raw_filter"])
    assert_golden(f, golden[f"{case['id']}/f"], 1e-6)
    for x in both_formats(golden[f"{case['id']}/x"].requires_grad_()):
        y = upfirdn2d(x, f, case["up"], case["down"], case["padding"], case["flip_filter"], case["gain"], kernels)
        (dx,) = torch.autograd.grad(y, x, golden[f"{case['id']}/dy"])
        assert_golden(y, golden[f"{case['id']}/y"], 1e-5)
        assert_golden(dx, golden[f"{case['id']}/dx"], 1e-5)


@pytest.mark.parametrize("case", cases_of("bias_act"))
def test_bias_act(golden: Golden, case: dict, kernels: str) -> None:
    x, b, dy = inputs(golden, case, "x", "b", "dy")
    y = bias_act(x, b, case["dim"], case["act"], case["alpha"], case["gain"], case["clamp"], kernels)
    dx, db = torch.autograd.grad(y, [x, b], dy, create_graph=True)
    second = (dx * golden[f"{case['id']}/ddx"]).sum()
    d_dy, d_x = torch.autograd.grad(second, [dy, x], materialize_grads=True)
    for name, value in {"y": y, "dx": dx, "db": db, "d_dy": d_dy, "d_x": d_x}.items():
        assert_golden(value, golden[f"{case['id']}/{name}"], 1e-5)


@pytest.mark.parametrize("case", cases_of("conv2d_resample"))
def test_conv2d_resample(golden: Golden, case: dict, kernels: str) -> None:
    _, w = inputs(golden, case, "x", "w")
    f = golden[f"{case['id']}/f"]
    for x in both_formats(golden[f"{case['id']}/x"].requires_grad_()):
        y = conv2d_resample(
            x, w, f, case["up"], case["down"], case["padding"], case["groups"], case["flip_weight"], kernels
        )
        dx, dw = torch.autograd.grad(y, [x, w], golden[f"{case['id']}/dy"])
        for name, value in {"y": y, "dx": dx, "dw": dw}.items():
            assert_golden(value, golden[f"{case['id']}/{name}"], 1e-5)


@pytest.mark.parametrize("fused_modconv", [False, True])
@pytest.mark.parametrize("case", cases_of("modulated_conv2d"))
def test_modulated_conv2d(golden: Golden, case: dict, fused_modconv: bool, kernels: str) -> None:
    x, w, styles = inputs(golden, case, "x", "w", "styles")
    noise = golden[f"{case['id']}/noise"] if f"{case['id']}/noise" in golden else None
    y = modulated_conv2d(
        x, w, styles, noise=noise, up=case["up"], padding=case["padding"], resample_filter=golden[f"{case['id']}/f"],
        demodulate=case["demodulate"], flip_weight=case["flip_weight"], fused_modconv=fused_modconv,
        kernels=kernels,
    )  # fmt: skip
    dx, dw, dstyles = torch.autograd.grad(y, [x, w, styles], golden[f"{case['id']}/dy"])
    for name, value in {"y": y, "dx": dx, "dw": dw, "dstyles": dstyles}.items():
        assert_golden(value, golden[f"{case['id']}/{name}"], 1e-5)
