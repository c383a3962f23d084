"""bias_act against its definition, its derivatives, and under vmap."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops import bias_act
from stylegan2ada.ops.bias_act import ACTIVATIONS, bias_act_reference

pytestmark = pytest.mark.usefixtures("implementation")
RELAXED = settings(max_examples=80, deadline=None, derandomize=True)

PLAIN = {
    "linear": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "lrelu": lambda x: x if x > 0 else 0.2 * x,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "swish": lambda x: x / (1 + math.exp(-x)),
}
GAINS = {"relu": math.sqrt(2), "lrelu": math.sqrt(2), "swish": math.sqrt(2)}


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_values_by_plain_arithmetic(act):
    """Independent of torch's activations: value, default alpha and default gain."""
    x, b = [-2.0, -0.3, 0.0, 0.4, 3.0], 0.25
    y = bias_act(torch.tensor([x], dtype=torch.float64).t(), torch.tensor([b], dtype=torch.float64), act=act)
    expected = [PLAIN[act](value + b) * GAINS.get(act, 1.0) for value in x]
    torch.testing.assert_close(y[:, 0], torch.tensor(expected, dtype=torch.float64))


@st.composite
def cases(draw) -> tuple[torch.Tensor, torch.Tensor | None, dict]:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    arguments = {
        "dim": dim,
        "act": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "alpha": draw(st.sampled_from([None, 0.0, 0.1, 0.7])),
        "gain": draw(st.sampled_from([None, 1.0, 0.3, -2.0])),
        "clamp": draw(st.sampled_from([None, 0.5, 3.0])),
    }
    b = torch.randn(shape[dim], dtype=torch.float64) if draw(st.booleans()) else None
    return torch.randn(shape, dtype=torch.float64), b, arguments


@RELAXED
@given(cases())
def test_value_and_both_gradients_equal_the_definition(case):
    x, b, arguments = case
    results = []
    for function in (bias_act, bias_act_reference):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, b) if tensor is not None]
        y = function(inputs[0], inputs[1] if b is not None else None, **arguments)
        first = torch.autograd.grad(y.pow(2).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        results.append([y, *first, *second])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_memory_format_stays():
    x, b = torch.randn(2, 3, 4, 4), torch.randn(3)
    y = bias_act(x.contiguous(memory_format=torch.channels_last), b, act="lrelu")
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, bias_act(x, b, act="lrelu"))


def test_inputs_are_left_as_they_were():
    x, b = torch.randn(2, 3), torch.randn(3)
    kept = x.clone(), b.clone()
    for bias in (None, b):
        bias_act(x, bias, act="lrelu", clamp=0.1)
    assert torch.equal(x, kept[0])
    assert torch.equal(b, kept[1])


@pytest.mark.parametrize("clamp", [None, 1.1])
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 3), (2, 3, 2, 1)])  # fused kernels take the latter two
def test_both_derivatives(shape, act, clamp):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def function(x, b):
        return bias_act(x, b, act=act, clamp=clamp).pow(2)

    assert gradcheck(function, (x, b))
    assert gradgradcheck(function, (x, b))


@pytest.mark.parametrize("clamp", [None, 0.8])
def test_per_sample_gradients_equal_a_loop(clamp):
    """The bias is shared by all samples, its gradient is wanted for each: what a private update needs."""
    x, b = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)

    def penalty(b, image):
        def score(image):
            return bias_act(image[None], b, act="lrelu", clamp=clamp).pow(3).sum()

        return torch.func.grad(score)(image).square().sum()

    mapped = torch.func.vmap(torch.func.grad(penalty), in_dims=(None, 0))(b, x)
    looped = torch.stack([torch.func.grad(penalty)(b, image) for image in x])
    assert mapped.shape == (4, 3)
    torch.testing.assert_close(mapped, looped)


def test_a_nan_is_not_masked():
    x = torch.tensor([[float("nan"), 1.0]])
    for clamp in (None, 1.0):
        assert bias_act(x, act="lrelu", clamp=clamp).isnan().tolist() == [[True, False]]


def test_an_unknown_activation_raises():
    with pytest.raises(ValueError, match=r"'gelu' is unknown; known: linear, relu, lrelu"):
        bias_act(torch.zeros(1, 1), act="gelu")


@pytest.mark.parametrize("act", ["linear", "lrelu"])
@pytest.mark.parametrize("shape", [[2], [3, 1]])
def test_a_bias_that_does_not_fit_raises(act, shape):
    with pytest.raises(ValueError, match=r"does not fit dimension 1 of \(2, 3\)"):
        bias_act(torch.zeros(2, 3), torch.zeros(shape), act=act)
