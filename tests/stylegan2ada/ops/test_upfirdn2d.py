"""upfirdn2d against its slow definition, its adjoint, its derivatives, and under vmap."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops import setup_filter, upfirdn2d
from stylegan2ada.ops.upfirdn2d import upfirdn2d_reference

pytestmark = pytest.mark.usefixtures("implementation")
RELAXED = settings(max_examples=60, deadline=None, derandomize=True)

factors = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
paddings = st.one_of(
    st.integers(-1, 4),
    st.tuples(st.integers(-1, 4), st.integers(-1, 4)),
    st.tuples(*[st.integers(-2, 4)] * 4),
)


def random_filter(draw) -> torch.Tensor | None:
    kind = draw(st.sampled_from(["none", "separable", "outer product", "any"]))
    if kind == "none":
        return None
    sizes = st.integers(1, 5)
    shape = [draw(sizes)] if kind == "separable" else [draw(sizes), draw(sizes)]
    return torch.rand(shape, dtype=torch.float64) - 0.3


@st.composite
def cases(draw) -> tuple[torch.Tensor, torch.Tensor | None, dict]:
    """An image that is never smaller than the filter once padded, a filter, and the other arguments."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    f = random_filter(draw)
    height, width = draw(st.integers(9, 11)), draw(st.integers(9, 11))
    x = torch.randn(draw(st.integers(1, 2)), draw(st.integers(1, 3)), height, width, dtype=torch.float64)
    arguments = {
        "up": draw(factors),
        "down": draw(factors),
        "padding": draw(paddings),
        "flip_filter": draw(st.booleans()),
        "gain": draw(st.sampled_from([1.0, 0.5, 4.0])),
    }
    return x, f, arguments


def memory_formats(x: torch.Tensor) -> list[torch.Tensor]:
    return [x.contiguous(), x.contiguous(memory_format=torch.channels_last)]


@RELAXED
@given(cases())
def test_equals_the_definition_in_both_memory_formats(case):
    x, f, arguments = case
    expected = upfirdn2d_reference(x, f, **arguments)
    for formatted in memory_formats(x):
        torch.testing.assert_close(upfirdn2d(formatted, f, **arguments), expected)


@RELAXED
@given(cases())
def test_the_backward_pass_is_the_adjoint(case):
    """<A x, y> = <x, A' y> for every x and y, which is what makes the gradient of a linear map right."""
    x, f, arguments = case
    for formatted in memory_formats(x):
        formatted.requires_grad_()
        y = upfirdn2d(formatted, f, **arguments)
        direction = torch.randn_like(y)
        (adjoint,) = torch.autograd.grad(y, formatted, direction)
        torch.testing.assert_close((y * direction).sum(), (formatted * adjoint).sum())


@pytest.mark.parametrize("flip_filter", [False, True])
@pytest.mark.parametrize("taps", [None, [1, 3, 3, 1], [[1, 2, 0], [4, 5, 6]]], ids=["none", "1-D", "2-D"])
@pytest.mark.parametrize(("up", "down", "padding"), [(1, 1, 0), (2, 1, [2, 1, 2, 1]), ([1, 2], [2, 3], [2, -1, 3, 0])])
def test_both_derivatives(up, down, padding, taps, flip_filter):
    f = None if taps is None else torch.tensor(taps, dtype=torch.float64)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)

    def nonlinear(x):
        return upfirdn2d(x, f, up, down, padding, flip_filter, gain=1.5).pow(3)

    assert gradcheck(nonlinear, x)
    assert gradgradcheck(nonlinear, x)


def test_a_shifted_impulse_shows_the_order_of_the_filter():
    """Without flipping it is a true convolution: an impulse reproduces the filter as it stands."""
    x, f = torch.zeros(1, 1, 5, 5), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    x[0, 0, 2, 2] = 1
    torch.testing.assert_close(upfirdn2d(x, f, padding=[1, 0, 1, 0])[0, 0, 2:4, 2:4], f)
    correlation = upfirdn2d(x, f, padding=[1, 0, 1, 0], flip_filter=True)
    torch.testing.assert_close(correlation[0, 0, 2:4, 2:4], f.flip([0, 1]))


def test_upsampling_keeps_the_mean_and_downsampling_a_constant():
    f = setup_filter([1, 3, 3, 1])
    x = torch.full([1, 1, 8, 8], 3.0)
    up = upfirdn2d(x, f, up=2, padding=[2, 1, 2, 1], gain=4)
    assert up.shape == (1, 1, 16, 16)
    torch.testing.assert_close(up[:, :, 2:-2, 2:-2], torch.full([1, 1, 12, 12], 3.0))
    down = upfirdn2d(x, f, down=2, padding=1)
    assert down.shape == (1, 1, 4, 4)
    torch.testing.assert_close(down[:, :, 1:-1, 1:-1], torch.full([1, 1, 2, 2], 3.0))


class TestVmap:
    """Per-sample gradients map the operators over a batch of single images."""

    @pytest.mark.parametrize("taps", [[1, 3, 3, 1], list(range(1, 10))], ids=["2-D", "separable"])
    def test_equals_a_batch(self, taps):
        f = setup_filter(taps)
        x = torch.randn(3, 2, 8, 8)
        mapped = torch.func.vmap(lambda image: upfirdn2d(image[None], f, up=2, down=1, padding=4)[0])(x)
        torch.testing.assert_close(mapped, upfirdn2d(x, f, up=2, down=1, padding=4))

    def test_gradient_of_a_gradient_penalty_equals_a_loop(self):
        f = setup_filter([1, 3, 3, 1]).double()
        x = torch.randn(3, 2, 6, 6, dtype=torch.float64)
        scale = torch.tensor(0.7, dtype=torch.float64)

        def penalty(scale, image):
            def score(image):
                return (upfirdn2d(image[None], f, down=2, padding=1) * scale).pow(3).sum()

            return torch.func.grad(score)(image).square().sum()

        mapped = torch.func.vmap(torch.func.grad(penalty), in_dims=(None, 0))(scale, x)
        looped = torch.stack([torch.func.grad(penalty)(scale, image) for image in x])
        torch.testing.assert_close(mapped, looped)
        assert len(set(mapped.tolist())) == 3


class TestSetupFilter:
    def test_a_short_filter_becomes_its_outer_product_of_unit_sum(self):
        f = setup_filter([1, 3, 3, 1])
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        torch.testing.assert_close(f, torch.outer(taps, taps))
        assert f.dtype == torch.float32

    def test_a_long_filter_stays_separable(self):
        assert setup_filter(range(1, 9)).shape == (8,)
        assert setup_filter(range(1, 9), separable=False).shape == (8, 8)
        assert setup_filter([1, 2], separable=True).shape == (2,)

    def test_none_and_a_number_are_the_identity(self):
        x = torch.randn(1, 1, 3, 3)
        for f in (setup_filter(None), setup_filter(5.0)):
            torch.testing.assert_close(upfirdn2d(x, f), x)

    @pytest.mark.parametrize("separable", [True, False])
    def test_gain_scales_the_whole_filter(self, separable):
        """The filter of both axes together gains by `gain`, whichever way it is stored."""
        x = torch.randn(1, 1, 6, 6)
        plain = upfirdn2d(x, setup_filter([1, 2, 3], separable=separable))
        torch.testing.assert_close(upfirdn2d(x, setup_filter([1, 2, 3], separable=separable, gain=4)), 4 * plain)

    def test_flip_and_no_normalisation(self):
        assert setup_filter([1, 2, 3], normalize=False, flip_filter=True, separable=True).tolist() == [3, 2, 1]

    @pytest.mark.parametrize("taps", [[], [[[1.0]]]], ids=["no tap", "three dimensions"])
    def test_impossible_taps_raise(self, taps):
        with pytest.raises(ValueError, match="one or two dimensions and at least one tap"):
            setup_filter(taps)

    def test_a_matrix_cannot_be_separable(self):
        with pytest.raises(ValueError, match="cannot be made separable"):
            setup_filter([[1, 2], [3, 4]], separable=True)
