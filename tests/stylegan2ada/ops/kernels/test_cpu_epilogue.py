"""What ends a layer, and its gradients, on the CPU against plain formulas: every library, type and layout."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from .cpu_checks import LAYOUTS, SEVERAL, activate, assert_close, mask, random_images, shapes


@st.composite
def epilogue_cases(draw):
    shape = draw(
        st.one_of(shapes, st.tuples(st.integers(0, 3), st.sampled_from([1, 3, 16, 37])), st.just((3, 37, 1, 1)))
    )
    return {
        "shape": shape,
        "layout": draw(st.sampled_from(LAYOUTS)),
        "scale": draw(st.booleans()),
        "noise": draw(st.sampled_from([None, 1, "each"])) if len(shape) == 4 else None,
        "bias": draw(st.booleans()),
        "activation": (draw(st.sampled_from([0.0, 0.2, 1.0])), draw(st.sampled_from([1.0, math.sqrt(2)]))),
        "clamp": draw(st.sampled_from([None, 0.5, 256.0])),
    }


def operands(case, dtype):
    """x, scale, noise, bias; all but x in the type that is computed in."""
    images, channels, *sides = case["shape"]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    x = torch.randn(case["shape"]).to(dtype)
    x = x.contiguous(memory_format=case["layout"]) if sides else x
    scale = torch.rand(images, channels, dtype=wide) + 0.5 if case["scale"] else None
    noise_images = images if case["noise"] == "each" else 1
    noise = torch.randn(noise_images, 1, *sides, dtype=wide) if case["noise"] else None
    return x, scale, noise, torch.randn(channels, dtype=wide) if case["bias"] else None


def over_pixels(values, x):
    """(..., C) shaped to broadcast over x (N, C, ...)."""
    return values.double().reshape(*values.shape, *[1] * (x.ndim - 2))


@SEVERAL
@given(case=epilogue_cases())
def test_epilogue_is_its_formula(kernels, dtype, case):
    x, scale, noise, bias = operands(case, dtype)
    y = kernels.epilogue(x, scale, noise, bias, *case["activation"], case["clamp"])
    v = x.double()
    v = v if scale is None else v * over_pixels(scale, x)
    v = v if noise is None else v + noise
    v = v if bias is None else v + over_pixels(bias, x)
    assert y.dtype == dtype and y.stride() == x.stride()
    assert_close(y, activate(v, *case["activation"], case["clamp"]), dtype)


@SEVERAL
@given(case=epilogue_cases())
def test_epilogue_backward_is_its_formula(kernels, dtype, case):
    x, scale, noise, bias = operands(case, dtype)
    slope, gain = case["activation"]
    y = kernels.epilogue(x, scale, noise, bias, slope, gain, case["clamp"])
    dy = torch.randn_like(x)
    wanted = (scale is not None, bias is not None, noise is not None)
    masked = slope != 1 or case["clamp"] is not None
    dx, dscale, dbias, dnoise = kernels.epilogue_backward(
        dy, y if masked else None, x if wanted[0] else None, scale, slope, gain, case["clamp"], *wanted
    )
    g = dy.double() * mask(y, slope, gain, case["clamp"])
    pixels, many = list(range(2, x.ndim)), 10 * math.sqrt(max(1, x.numel()))
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    assert dx.dtype == dtype and dx.stride() == dy.stride()
    assert_close(dx, g if scale is None else g * over_pixels(scale, x), dtype)
    for got, want, expected in zip(
        (dscale, dbias, dnoise),
        wanted,
        ((g * x.double()).sum(pixels) if pixels else g * x.double(), g.sum([0, *pixels]), g.sum(1, keepdim=True)),
        strict=True,
    ):
        assert (got is not None) == want
        if want:
            assert got.dtype == sums
            assert_close(got, expected, sums, scale=many)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("clamp", [None, 256.0])
def test_nan_and_infinity_pass_as_in_torch(kernels, dtype, layout, slope, clamp):
    x = random_images((1, 19, 6, 7), dtype, layout)
    x[0, :, 1, 2], x[0, 5, 0, 0], x[0, 6, 3] = math.nan, math.inf, -math.inf
    y = kernels.epilogue(x, None, None, torch.zeros(19), slope, 1.5, clamp)
    assert_close(y, activate(x.double(), slope, 1.5, clamp), dtype)
    assert torch.equal(y.isnan(), x.isnan())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_nan_in_the_gradient_passes(kernels, dtype, layout):
    y = random_images((1, 19, 6, 7), dtype, layout)
    dy = torch.ones_like(y)
    dy[0, 3, 1, 2] = math.nan
    dx, _, dbias, dnoise = kernels.epilogue_backward(dy, y, None, None, 0.2, 1.0, 256.0, False, True, True)
    assert torch.equal(dx.isnan(), dy.isnan())
    assert dbias.isnan().nonzero().tolist() == [[3]]
    assert dnoise.isnan().nonzero().tolist() == [[0, 0, 1, 2]]


@pytest.mark.parametrize("clamp", [0.1, 0.3, 0.7])  # no 16-bit numbers: rounded up, or down
def test_the_clamp_is_recognised_after_rounding(kernels, dtype, clamp):
    x = torch.full((1, 32, 2, 2), 5.0, dtype=dtype)
    y = kernels.epilogue(x, None, None, None, 1.0, 1.0, clamp)
    assert torch.equal(y, torch.full_like(x, clamp))
    dx, *_ = kernels.epilogue_backward(torch.ones_like(x), y, None, None, 1.0, 1.0, clamp, False, False, False)
    assert not dx.any()
