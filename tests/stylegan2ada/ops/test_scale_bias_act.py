"""The end of a layer in one pass, against its formula in plain differentiable operations, on every kernel path."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops.scale_bias_act import modulate, scale_bias_act

CHOICES = ["auto", "reference"]


def formula(x, scale, noise, bias, slope, gain, clamp):
    y = x if scale is None else x * scale[:, :, None, None]
    y = y if noise is None else y + noise
    y = y if bias is None else y + bias[:, None, None]
    y = F.leaky_relu(y, slope) * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def operands(dtype=torch.float64, maps=2, last=False):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    return [
        x.requires_grad_(),
        torch.rand(2, 3, dtype=dtype).requires_grad_(),
        torch.randn(maps, 1, 4, 5, dtype=dtype).requires_grad_(),
        torch.randn(3, dtype=dtype).requires_grad_(),
    ]


@pytest.mark.parametrize("kernels", CHOICES)
@pytest.mark.parametrize("present", list(itertools.product([True, False], repeat=3)), ids=str)
@pytest.mark.parametrize(("slope", "gain", "clamp"), [(0.2, 1.4, None), (0.2, 1.4, 0.8), (0, 1.4, None), (1, 1, None)])
def test_value_and_both_derivatives(present, slope, gain, clamp, kernels):
    x, *others = operands()
    inputs = [x, *(tensor for tensor, here in zip(others, present, strict=True) if here)]

    def arguments(*given):
        rest = iter(given[1:])
        return [given[0], *(next(rest) if here else None for here in present), slope, gain, clamp]

    def function(*given):
        return scale_bias_act(*arguments(*given), kernels)

    torch.testing.assert_close(function(*inputs), formula(*arguments(*inputs)))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("kernels", CHOICES)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_one_noise_map_for_all_images(last, kernels):
    inputs = operands(maps=1, last=last)
    assert gradcheck(lambda *given: scale_bias_act(*given, 0.2, 1.4, 0.9, kernels), inputs)
    assert gradgradcheck(lambda *given: scale_bias_act(*given, 0.2, 1.4, 0.9, kernels), inputs)


@pytest.mark.parametrize("kernels", CHOICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_types_and_layouts(dtype, last, kernels):
    wide = operands(torch.float32, last=last)
    narrow = [wide[0].detach().to(dtype).requires_grad_(), *wide[1:]]
    settings = (0.2, 1.4, 0.9)
    expected = formula(*wide, *settings)
    found = scale_bias_act(*narrow, *settings, kernels)
    assert found.dtype == dtype and found.stride() == narrow[0].stride()
    # Where rounding moves a value over the kink or the clamp, the derivative jumps: those are left out.
    away = (formula(*wide, 1, 1.4, None).abs() > 0.02) & ((expected.abs() - 0.9).abs() > 0.02) | (expected == 0.9)
    dy = torch.randn_like(expected) * away
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}[dtype]
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(
        torch.autograd.grad(found, narrow, dy.to(dtype)), torch.autograd.grad(expected, wide, dy), strict=True
    ):
        torch.testing.assert_close(a.float(), b, rtol=tolerance, atol=tolerance * b.abs().max().item())


@pytest.mark.parametrize("kernels", CHOICES)
def test_modulation_scales_each_image_and_channel(kernels):
    x, styles = torch.randn(2, 3, 4, 4), torch.randn(2, 3)
    torch.testing.assert_close(modulate(x, styles, kernels), x * styles[:, :, None, None])


@pytest.mark.parametrize("kernels", CHOICES)
def test_nan_is_not_masked(kernels):
    """A clamp that swallowed NaN would hide a diverging network."""
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 300.0]])
    y = scale_bias_act(x, None, None, None, 0.2, 1.0, 256.0, kernels)
    assert y.isnan().tolist() == [[True, False, False, False]]
    assert y[0, 1:].tolist() == [256, -256, 256]


@pytest.mark.parametrize("kernels", CHOICES)
def test_nan_is_not_masked_in_the_gradient_either(kernels):
    x = torch.tensor([[float("nan"), 1.0, 300.0]], requires_grad=True)
    (dx,) = torch.autograd.grad(scale_bias_act(x, None, None, None, 0.2, 1.0, 256.0, kernels).sum(), x)
    assert dx.tolist() == [[pytest.approx(0.2), 1, 0]], "y > 0 is false of a NaN, and so is y >= clamp"


@pytest.mark.parametrize("kernels", CHOICES)
def test_features_without_pixels(kernels):
    """(N, C): there is nothing to sum a scale's gradient over."""
    x, scale = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(lambda *given: scale_bias_act(*given, None, None, 0.2, 1.4, 0.8, kernels), (x, scale))
    assert gradgradcheck(lambda *given: scale_bias_act(*given, None, None, 0.2, 1.4, 0.8, kernels), (x, scale))


@pytest.mark.parametrize("kernels", CHOICES)
def test_per_sample_gradients_under_vmap(kernels):
    x, scale, noise, bias = (tensor.detach() for tensor in operands())

    def loss(bias, x, scale, noise):
        return scale_bias_act(x[None], scale[None], noise[None], bias, 0.2, 1.4, 0.9, kernels).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0, 0, 0))(bias, x, scale, noise)
    expected = torch.stack([torch.func.grad(loss)(bias, *one) for one in zip(x, scale, noise, strict=True)])
    torch.testing.assert_close(found, expected)
