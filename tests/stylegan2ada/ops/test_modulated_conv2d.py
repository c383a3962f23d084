"""modulated_conv2d against its definition with one weight per image, and its derivatives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops import modulated_conv2d, setup_filter
from stylegan2ada.ops.modulated_conv2d import modulated_conv2d_reference

pytestmark = pytest.mark.usefixtures("implementation")
RELAXED = settings(max_examples=60, deadline=None, derandomize=True)
FIR = setup_filter([1, 3, 3, 1]).double()


@st.composite
def cases(draw) -> tuple[list[torch.Tensor], dict]:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    batch, channels, out_channels = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw(st.sampled_from([1, 3]))
    up, down = draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))
    x = torch.randn(batch, channels, 4, 4, dtype=torch.float64)
    weight = torch.randn(out_channels, channels, kernel, kernel, dtype=torch.float64)
    styles = torch.randn(batch, channels, dtype=torch.float64)
    side = 4 * up // down
    noise = draw(st.sampled_from([None, (side, side), (batch, 1, side, side)]))
    arguments = {
        "noise": None if noise is None else torch.randn(noise, dtype=torch.float64),
        "up": up,
        "down": down,
        "padding": kernel // 2,
        "resample_filter": FIR,
        "demodulate": draw(st.booleans()),
        "flip_weight": draw(st.booleans()),
    }
    return [x, weight, styles], arguments


@RELAXED
@given(cases())
def test_value_and_both_gradients_equal_the_definition(case):
    tensors, arguments = case
    results = []
    for function in (modulated_conv2d_reference, modulated_conv2d):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            inputs = [tensor.clone().requires_grad_() for tensor in tensors]
            y = function(inputs[0].contiguous(memory_format=memory_format), *inputs[1:], **arguments)
            first = torch.autograd.grad(y.pow(2).sum(), inputs, create_graph=True)
            second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
            results.append([y, *first, *second])
    for ours in results[1:]:
        for value, expected in zip(ours, results[0], strict=True):
            torch.testing.assert_close(value, expected)


def test_fused_is_the_definition():
    x, weight, styles = torch.randn(2, 3, 4, 4), torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    fused = modulated_conv2d(x, weight, styles, padding=1, fused_modconv=True)
    assert torch.equal(fused, modulated_conv2d_reference(x, weight, styles, padding=1))


def test_demodulation_gives_unit_variance_and_forgets_the_scale_of_the_styles():
    """Equation 3: what white noise becomes has unit variance, whatever the styles."""
    x, weight, styles = torch.randn(1, 64, 64, 64), torch.randn(8, 64, 3, 3), torch.rand(1, 64) + 0.5
    y = modulated_conv2d(x, weight, styles, padding=1)
    assert y.var().item() == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(modulated_conv2d(x, weight, styles * 1000, padding=1), y, rtol=1e-3, atol=1e-3)


def test_each_image_has_its_own_styles():
    x, weight, styles = torch.randn(1, 3, 4, 4).expand(2, -1, -1, -1), torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    y = modulated_conv2d(x, weight, styles, padding=1)
    for i in range(2):
        torch.testing.assert_close(y[i : i + 1], modulated_conv2d(x[:1], weight, styles[i : i + 1], padding=1))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("up", [1, 2])
def test_both_derivatives(up, demodulate, fused):
    shapes = [2, 2, 3, 3], [2, 2, 3, 3], [2, 2]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def function(x, weight, styles):
        return modulated_conv2d(
            x, weight, styles, up=up, padding=1, resample_filter=FIR, demodulate=demodulate, fused_modconv=fused
        )

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


class TestHalfPrecision:
    def test_large_weights_and_styles_stay_in_range(self):
        """Demodulation makes the result independent of their scale; float16 must not overflow on the way."""
        x, weight, styles = torch.randn(2, 16, 8, 8), 300 * torch.randn(5, 16, 3, 3), 300 * torch.randn(2, 16)
        expected = modulated_conv2d(x, weight, styles, padding=1)
        found = modulated_conv2d(x.half(), weight, styles, padding=1)
        assert found.dtype == torch.float16
        assert (found.float() - expected).norm() < 5e-3 * expected.norm()
