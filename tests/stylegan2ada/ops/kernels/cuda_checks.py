"""What the CUDA kernels must compute, for the emulator and for a GPU alike: the definitions, in float64."""

import itertools
import math

import torch

from stylegan2ada.ops.upfirdn2d import upfirdn2d_reference

# Rounding to the stored type; sums in float32.
TOLERANCES = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
    torch.float16: {"rtol": 2**-10, "atol": 1e-5},
    torch.bfloat16: {"rtol": 2**-7, "atol": 1e-5},
}

LAYOUTS = ("NCHW", "channels last", "channels last, not aligned", "NCHW, not aligned", "every second column")

FIR_CASES = [  # filter, up, down, padding
    ((4, 4), (1, 1), (1, 1), (1, 2, 2, 1)),
    ((4, 4), (1, 1), (1, 1), (-1, 4, 5, -2)),
    ((4, 4), (1, 1), (1, 1), (1, 2, 2, -6)),
    ((4, 4), (2, 2), (1, 1), (2, 1, 2, 1)),
    ((4, 4), (2, 2), (1, 1), (1, 2, 3, 0)),
    ((4, 4), (1, 1), (2, 2), (1, 1, 1, 1)),
    ((4, 4), (1, 1), (2, 2), (0, 3, -1, 2)),
    ((4, 4), (1, 1), (1, 1), (3, 10, 2, 11)),  # whole tiles below the image
    ((4, 4), (2, 2), (1, 1), (3, 10, 2, 11)),
    ((4, 4), (1, 1), (2, 2), (3, 10, 2, 11)),
    ((4, 4), (2, 1), (1, 2), (2, 1, 2, 1)),
    ((1, 12), (2, 1), (1, 1), (6, 5, 0, 0)),
    ((12, 1), (1, 1), (1, 2), (0, 0, 5, 5)),
    ((3, 5), (1, 3), (3, 2), (4, 5, -1, 3)),
]
FIR_SHAPES = [(2, 16, 13, 9), (3, 1, 8, 8), (1, 3, 5, 37), (1, 40, 33, 6), (1, 8, 1, 1)]

EPILOGUE_SHAPES = [(2, 16, 8, 8), (3, 3, 7, 5), (2, 72, 5, 4), (1, 24, 33, 36), (4, 24), (3, 5), (5, 8, 1, 1)]
EPILOGUE_OPTIONS = [  # scale, images of noise (0: none, 1, -1: one each), bias, slope, gain, clamp
    (True, -1, True, 0.2, math.sqrt(2), None),
    (True, 1, True, 0.2, math.sqrt(2), 0.7),
    (False, 0, True, 0.2, math.sqrt(2), 0.7),
    (True, 0, False, 1.0, 1.0, None),
    (False, 0, True, 1.0, 0.5, 0.3),
    (False, 1, False, 0.0, 1.0, None),
]


def as_laid_out(x, layout):
    """x as a tensor with the given memory layout; (N, C) knows only rows."""
    if layout == "every second column":
        wide = x.new_zeros([*x.shape[:-1], 2 * x.shape[-1]])
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout.startswith("channels last") and x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    if layout.endswith("not aligned"):
        buffer = x.new_empty(x.numel() + 1)
        return torch.as_strided(buffer, x.shape, x.stride(), 1).copy_(x)
    return x


def assert_same_layout(found, given):
    assert found.dtype == given.dtype
    if given.is_contiguous():
        assert found.is_contiguous()
    elif given.ndim == 4 and given.is_contiguous(memory_format=torch.channels_last):
        assert found.is_contiguous(memory_format=torch.channels_last)


def check_fir(kernels, dtype, device, shape, layout):
    for (taps, up, down, padding), flip_filter in itertools.product(FIR_CASES, (False, True)):
        x = as_laid_out(torch.randn(shape, device=device).to(dtype), layout)
        f = torch.randn(taps, device=device)
        height, width = shape[2] * up[1] + sum(padding[2:]), shape[3] * up[0] + sum(padding[:2])
        if height < taps[0] or width < taps[1] or min(shape[2] * up[1], shape[3] * up[0]) + min(padding) < 1:
            continue  # nothing would be left
        found = kernels.fir(x, f, up, down, padding, flip_filter, 1.7)
        expected = upfirdn2d_reference(x.double(), f.double(), up, down, padding, flip_filter, 1.7)
        torch.testing.assert_close(found.double(), expected, **TOLERANCES[dtype])
        assert_same_layout(found, x)


def epilogue_inputs(dtype, device, shape, layout, has_scale, noise_images, has_bias):
    """x, scale, noise, bias."""
    number = torch.promote_types(dtype, torch.float32)
    x = as_laid_out(torch.randn(shape, device=device).to(dtype), layout)
    scale = torch.rand(shape[:2], dtype=number, device=device) + 0.5 if has_scale else None
    bias = torch.randn(shape[1], dtype=number, device=device) if has_bias else None
    noise = None
    if noise_images:
        noise_shape = [shape[0] if noise_images < 0 else 1, 1, *shape[2:]]
        noise = torch.randn(noise_shape, dtype=number, device=device)
    return x, scale, noise, bias


def epilogue_definition(x, scale, noise, bias, slope, gain, clamp):
    """In float64."""
    x = x.double()
    ones = [1] * (x.ndim - 2)
    x = x if scale is None else x * scale.double().reshape(*scale.shape, *ones)
    x = x if noise is None else x + noise.double()
    x = x if bias is None else x + bias.double().reshape(-1, *ones)
    x = torch.where(x > 0, x, x * slope) * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def check_epilogue(kernels, dtype, device, shape, layout):
    for has_scale, noise_images, has_bias, slope, gain, clamp in EPILOGUE_OPTIONS:
        x, scale, noise, bias = epilogue_inputs(dtype, device, shape, layout, has_scale, noise_images, has_bias)
        found = kernels.epilogue(x, scale, noise, bias, slope, gain, clamp)
        expected = epilogue_definition(x, scale, noise, bias, slope, gain, clamp)
        torch.testing.assert_close(found.double(), expected, **TOLERANCES[dtype])
        assert_same_layout(found, x)


def check_epilogue_backward(kernels, dtype, device, shape, layout):
    for has_scale, noise_images, has_bias, slope, gain, clamp in EPILOGUE_OPTIONS:
        x, scale, noise, bias = epilogue_inputs(dtype, device, shape, layout, has_scale, noise_images, has_bias)
        y = kernels.epilogue(x, scale, noise, bias, slope, gain, clamp)
        dy = as_laid_out(torch.randn(shape, device=device).to(dtype), layout)
        g = dy.double() * gain
        g = g if slope == 1 else torch.where(y > 0, g, g * slope)
        stored_clamp = None if clamp is None else torch.tensor(clamp, dtype=dtype).item()
        g = g if clamp is None else torch.where(y.double().abs() < stored_clamp, g, 0.0)
        masked = slope != 1 or clamp is not None
        wanted = (has_scale, has_bias, noise_images != 0)
        dx, dscale, dbias, dnoise = kernels.epilogue_backward(
            dy, y if masked else None, x if has_scale else None, scale, slope, gain, clamp, *wanted
        )
        dx_expected = g if scale is None else g * scale.double().reshape(*scale.shape, *[1] * (g.ndim - 2))
        torch.testing.assert_close(dx.double(), dx_expected, **TOLERANCES[dtype])
        assert_same_layout(dx, dy)
        pixels = list(range(2, g.ndim))
        check_sum(dscale, g * x.double(), pixels, has_scale, dtype)
        check_sum(dbias, g, [0, *pixels], has_bias, dtype)
        check_sum(dnoise, g, [1], noise_images != 0, dtype, keepdim=True)


def check_sum(found, terms, dims, wanted, dtype, keepdim=False):
    if not wanted:
        assert found is None
        return
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    expected = terms.sum(dims, keepdim=keepdim) if dims else terms
    assert found.shape == expected.shape
    rounding = 1e-13 if dtype == torch.float64 else 1e-5
    largest = (terms.abs().sum(dims, keepdim=keepdim) if dims else terms.abs()).max()
    assert (found.double() - expected).abs().max() <= rounding * largest


def check_extremes(kernels, dtype, device):
    """NaN stays NaN through mask and clamp; infinities are limited; ReLU of -Inf is 0."""
    inf, nan = math.inf, math.nan
    for layout, size in itertools.product(LAYOUTS[:2], (1, 16)):
        x = torch.tensor([nan, inf, -inf, 1.0], device=device).to(dtype)
        x = as_laid_out(x.repeat_interleave(size).repeat(16).reshape(1, 16, size, 4), layout)
        y = kernels.epilogue(x, None, None, None, 0.0, 1.0, 2.0).flatten()
        expected = x.clamp(0, 2).flatten()
        torch.testing.assert_close(y, expected, equal_nan=True, rtol=0, atol=0)
        dy = torch.full_like(x, nan)
        y = torch.ones_like(x)
        assert kernels.epilogue_backward(dy, y, None, None, 0.2, 1.0, 2.0, False, True, False)[2].isnan().all()
        f = torch.ones(4, 4, device=device)
        x = as_laid_out(torch.full_like(x, nan), layout)
        filtered = kernels.fir(x, f, (1, 1), (1, 1), (1, 2, 1, 2), False, 1.0)
        assert filtered.isnan().all()


def check_empty(kernels, device):
    x = torch.zeros(0, 4, 8, 8, device=device)
    f = torch.ones(4, 4, device=device)
    assert kernels.fir(x, f, (1, 1), (2, 2), (1, 1, 1, 1), False, 1.0).shape == (0, 4, 4, 4)
    scale = torch.zeros(0, 4, device=device)
    assert kernels.epilogue(x, scale, None, None, 0.2, 1.0, None).shape == x.shape
    dx, dscale, dbias, dnoise = kernels.epilogue_backward(x, x, x, scale, 0.2, 1.0, None, True, True, True)
    assert dx.shape == x.shape
    assert dscale.shape == (0, 4)
    assert dnoise.shape == (0, 1, 8, 8)
    torch.testing.assert_close(dbias, torch.zeros(4, device=device))
