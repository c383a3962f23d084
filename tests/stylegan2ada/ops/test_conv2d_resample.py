"""conv2d_resample against its definition, and its derivatives."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops import conv2d_resample, setup_filter
from stylegan2ada.ops.conv2d_resample import conv2d_resample_reference

pytestmark = pytest.mark.usefixtures("implementation")
RELAXED = settings(max_examples=80, deadline=None, derandomize=True)


NOT_NEGATIVE = st.integers(0, 3)


@st.composite
def cases(draw, paddings=NOT_NEGATIVE) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, dict]:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    groups = draw(st.integers(1, 2))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 1), (2, 3)]))
    in_channels, out_channels = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    x = torch.randn(2, in_channels, 9, 10, dtype=torch.float64)  # at padding -2 there is still a pixel left
    w = torch.randn(out_channels, in_channels // groups, *kernel, dtype=torch.float64)
    taps = draw(st.sampled_from([None, [1, 3, 3, 1], [1, 2, 1], [1, 2], list(range(1, 10)), [[1, 2, 3], [0, 5, 1]]]))
    f = None if taps is None else setup_filter(taps).double()
    arguments = {
        "up": draw(st.integers(1, 3)),
        "down": draw(st.integers(1, 3)),
        "padding": draw(st.one_of(paddings, st.tuples(*[paddings] * 4))),
        "groups": groups,
        "flip_weight": draw(st.booleans()),
    }
    return x, w, f, arguments


def assert_equals_the_definition(x, w, f, arguments):
    results = []
    for function in (conv2d_resample_reference, conv2d_resample):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            inputs = [x.contiguous(memory_format=memory_format).requires_grad_(), w.clone().requires_grad_()]
            y = function(*inputs, f, **arguments)
            results.append([y, *torch.autograd.grad(y.pow(2).sum(), inputs)])
    for ours in results[1:]:
        for value, expected in zip(ours, results[0], strict=True):
            torch.testing.assert_close(value, expected)


@RELAXED
@given(cases())
def test_value_and_gradients_equal_the_definition(case):
    assert_equals_the_definition(*case)


@RELAXED
@given(cases(paddings=st.integers(-2, 1)))
def test_negative_padding_equals_the_definition(case):
    assert_equals_the_definition(*case)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_both_derivatives(up, down, kernel):
    f = setup_filter([1, 3, 3, 1]).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 2, kernel, kernel, dtype=torch.float64, requires_grad=True)

    def function(x, w):
        return conv2d_resample(x, w, f, up=up, down=down, padding=kernel // 2)

    assert gradcheck(function, (x, w))
    assert gradgradcheck(function, (x, w))


def test_without_resampling_it_is_torch_convolution():
    x, w = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    torch.testing.assert_close(conv2d_resample(x, w, padding=1), F.conv2d(x, w, padding=1))
    flipped = conv2d_resample(x, w, padding=1, flip_weight=False)
    torch.testing.assert_close(flipped, F.conv2d(x, w.flip([2, 3]), padding=1))


@pytest.mark.parametrize("kernel", [1, 3])
def test_sizes_of_the_networks_layers(kernel):
    """Same padding: the side is multiplied by up, divided by down."""
    f, x, w = setup_filter([1, 3, 3, 1]), torch.randn(1, 2, 8, 8), torch.randn(3, 2, kernel, kernel)
    for up, down, side in ((1, 1, 8), (2, 1, 16), (1, 2, 4)):
        assert conv2d_resample(x, w, f, up=up, down=down, padding=kernel // 2).shape == (1, 3, side, side)


def test_per_sample_gradients_equal_a_loop():
    """vmap over images of a gradient penalty, the weight shared."""
    f = setup_filter([1, 3, 3, 1]).double()
    x, w = torch.randn(3, 2, 4, 4, dtype=torch.float64), torch.randn(2, 2, 3, 3, dtype=torch.float64)

    def penalty(w, image):
        def score(image):
            return conv2d_resample(image[None], w, f, down=2, padding=1).pow(3).sum()

        return torch.func.grad(score)(image).square().sum()

    mapped = torch.func.vmap(torch.func.grad(penalty), in_dims=(None, 0))(w, x)
    torch.testing.assert_close(mapped, torch.stack([torch.func.grad(penalty)(w, image) for image in x]))
