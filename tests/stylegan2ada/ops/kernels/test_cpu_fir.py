"""The FIR filter on the CPU against its definition: every library that this processor runs, every type and layout."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from .cpu_checks import LAYOUTS, SEVERAL, assert_close, fir_reference, random_images, shapes

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
filters = st.one_of(st.just((4, 4)), st.tuples(st.integers(1, 6), st.integers(1, 6)))


@st.composite
def fir_cases(draw):
    """Shape, layout and arguments of a filter that is not larger than the padded image."""
    shape, taps = draw(shapes), draw(filters)
    common = st.sampled_from([((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2))])
    up, down = draw(st.one_of(common, st.tuples(pairs, pairs)))
    sides = []
    for axis in (1, 0):  # x, y
        before = draw(st.integers(-3, 7))
        enough = taps[axis] - shape[2 + axis] * up[1 - axis] - before
        sides += [before, max(enough, draw(st.integers(-3, 7)))]
    gain = draw(st.sampled_from([1.0, 4.0]))
    return shape, draw(st.sampled_from(LAYOUTS)), torch.randn(taps), up, down, tuple(sides), draw(st.booleans()), gain


@SEVERAL
@given(case=fir_cases())
def test_fir_is_its_definition(kernels, dtype, case):
    shape, layout, f, *arguments = case
    x = random_images(shape, dtype, layout)
    y = kernels.fir(x, f, *arguments)
    assert y.dtype == dtype
    scale = arguments[-1] * f.abs().sum().item()
    assert_close(y, fir_reference(x, f, *arguments), dtype, scale)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("taps", [(64, 64), (1, 64), (13, 1)])
def test_fir_with_a_large_filter(kernels, dtype, layout, taps):
    x, f = random_images((1, 3, 9, 7), dtype, layout), torch.rand(taps) / math.prod(taps)
    arguments = ((2, 1), (1, 3), (70, 66, 65, 71), False, 1.0)
    assert_close(kernels.fir(x, f, *arguments), fir_reference(x, f, *arguments), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fir_keeps_the_layout(kernels, layout):
    y = kernels.fir(
        random_images((2, 5, 6, 7), torch.float32, layout), torch.ones(4, 4), (2, 2), (1, 1), (2, 1, 2, 1), False, 1
    )
    assert y.shape == (2, 5, 12, 14)
    assert y.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_fir_of_nothing(kernels, dtype, shape):
    y = kernels.fir(torch.zeros(shape, dtype=dtype), torch.ones(4, 4), (1, 1), (2, 2), (1, 1, 1, 1), False, 1.0)
    assert y.shape == (*shape[:2], 4, 4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_fir_spreads_a_bad_pixel_as_far_as_the_filter_and_no_farther(kernels, dtype, layout, value):
    x = torch.ones(1, 19, 16, 24, dtype=dtype).contiguous(memory_format=layout)
    x[0, 4, 7, 9] = value
    f, arguments = torch.ones(4, 4), ((1, 1), (1, 1), (2, 1, 2, 1), False, 1.0)
    y = kernels.fir(x, f, *arguments)
    assert (~y.isfinite()).sum() == 16
    assert_close(y, fir_reference(x, f, *arguments), dtype)
