"""Convolution as three bilinear Functions, against torch's own convolution."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops.convolution import convolve, convolve_transposed


def make(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


@given(
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    taps=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    last=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_value_and_gradients_are_those_of_torch(channels, size, taps, stride, padding, last):
    x, w = make(2, channels[0], *size), make(channels[1], channels[0], taps, taps)
    seen = x.contiguous(memory_format=torch.channels_last) if last else x
    found, expected = convolve(seen, w, stride, padding), F.conv2d(x, w, stride=stride, padding=padding)
    torch.testing.assert_close(found, expected)
    dy = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, w), dy), torch.autograd.grad(expected, (x, w), dy), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_transpose_is_that_of_torch(taps, stride):
    x, w = make(2, 3, 4, 5), make(3, 2, taps, taps)
    torch.testing.assert_close(convolve_transposed(x, w, stride), F.conv_transpose2d(x, w, stride=stride))


@pytest.mark.parametrize("channels", [(1, 2), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_derivatives_of_the_first_and_second_order(channels, taps, stride):
    into, out = channels
    assert gradcheck(lambda x, w: convolve(x, w, stride, (1, 1)), (make(2, into, 4, 3), make(out, into, taps, taps)))
    assert gradgradcheck(lambda x, w: convolve(x, w, stride), (make(2, into, 4, 3), make(out, into, taps, taps)))
    inputs = make(2, out, 3, 2), make(out, into, taps, taps)
    assert gradcheck(lambda x, w: convolve_transposed(x, w, stride), inputs)
    assert gradgradcheck(lambda x, w: convolve_transposed(x, w, stride), inputs)


def test_the_third_order_too():
    """All derivatives are the same three operations: nothing ends at the second."""
    x, w = make(1, 2, 4, 4), make(2, 2, 3, 3)

    def penalty(x, w):
        (dx,) = torch.autograd.grad(convolve(x, w).square().sum(), x, create_graph=True)
        return dx.square().sum()

    assert gradgradcheck(penalty, (x, w))


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision(dtype, taps):
    x, w = make(2, 8, 6, 6, dtype=torch.float32), make(4, 8, taps, taps, dtype=torch.float32)
    expected = F.conv2d(x, w)
    dy = torch.randn_like(expected)
    low = [tensor.detach().to(dtype).requires_grad_() for tensor in (x, w)]
    y = convolve(*low)
    found = [y, *torch.autograd.grad(y, low, dy.to(dtype))]
    for ours, theirs in zip(found, [expected, *torch.autograd.grad(expected, (x, w), dy)], strict=True):
        assert ours.dtype == dtype
        assert (ours.float() - theirs).norm() < 0.02 * theirs.norm()


def test_no_gradient_is_computed_that_nobody_asked_for(monkeypatch):
    """R1 differentiates by the images alone: the weights' gradients would be a third of the work."""
    from stylegan2ada.ops import convolution

    calls = []
    kernel = convolution._convolution_backward
    monkeypatch.setattr(
        convolution, "_convolution_backward", lambda *args, wanted: calls.append(wanted) or kernel(*args, wanted=wanted)
    )
    x, w = make(1, 2, 4, 4), make(2, 2, 3, 3)
    torch.autograd.grad(convolve(x, w).sum(), x, create_graph=True)
    assert calls == [0]
    convolve(x, w).sum().backward()
    assert sorted(calls) == [0, 0, 1]


def test_results_keep_channels_last():
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    for w in (torch.randn(3, 4, 3, 3), torch.randn(3, 4, 1, 1)):
        assert convolve(x.requires_grad_(), w).is_contiguous(memory_format=torch.channels_last)
    assert convolve_transposed(x, torch.randn(4, 3, 3, 3), 2).is_contiguous(memory_format=torch.channels_last)


def test_per_sample_gradients_under_vmap():
    x, w = torch.randn(3, 2, 5, 5, dtype=torch.float64), torch.randn(4, 2, 3, 3, dtype=torch.float64)

    def loss(w, image):
        return convolve(image[None], w).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
    expected = torch.stack([torch.func.grad(loss)(w, image) for image in x])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("taps", [1, 3])
def test_no_images(taps):
    x, w = make(0, 3, 4, 4), make(2, 3, taps, taps)
    y = convolve(x, w)
    assert y.shape == (0, 2, 5 - taps, 5 - taps)
    dx, dw = torch.autograd.grad(y.sum(), (x, w))
    assert dx.shape == x.shape and not dw.any()
