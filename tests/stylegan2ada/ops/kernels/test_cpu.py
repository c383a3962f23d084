"""The CPU kernels against plain formulas in float64: every library that this processor runs, every type and layout."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stylegan2ada.ops.kernels import cpu
from stylegan2ada.ops.kernels.unavailable import KernelsUnavailable

LIBRARIES = cpu.runnable_libraries(cpu.FOLDER)
DTYPES = list(cpu.DTYPES)
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
SEVERAL = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_the_library_was_built_where_a_compiler_is_at_hand():
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        pytest.skip("no C++ compiler on PATH, so no CPU kernels")
    assert "baseline" in LIBRARIES, f"nothing built in {cpu.FOLDER}: run `pip install -e .`"


@pytest.fixture(params=cpu.INSTRUCTION_SETS)
def kernels(request) -> cpu.CpuKernels:
    if request.param not in LIBRARIES:
        pytest.skip(f"the CPU kernels for {cpu.INSTRUCTION_SETS[request.param]} were not built or do not run here")
    return cpu.open_library(request.param, LIBRARIES[request.param])


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture
def threads():
    """Sets the number of threads, restored afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def random_images(shape, dtype, layout=torch.contiguous_format) -> torch.Tensor:
    return torch.randn(shape).to(dtype).contiguous(memory_format=layout)


def assert_close(got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, scale: float = 1.0) -> None:
    torch.testing.assert_close(
        got.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, equal_nan=True
    )


# ---- fir ------------------------------------------------------------------------------------------------------------


def fir_reference(x, f, up, down, padding, flip_filter, gain):
    """The definition, tap by tap, in float64."""
    x, f = x.double(), f.double() if flip_filter else f.double().flip([0, 1])
    spread = x.new_zeros([*x.shape[:2], x.shape[2] * up[1], x.shape[3] * up[0]])
    spread[:, :, :: up[1], :: up[0]] = x
    spread = torch.nn.functional.pad(spread, [max(side, 0) for side in padding])
    left, right, top, bottom = (max(-side, 0) for side in padding)
    spread = spread[:, :, top : spread.shape[2] - bottom, left : spread.shape[3] - right]
    height, width = spread.shape[2] - f.shape[0] + 1, spread.shape[3] - f.shape[1] + 1
    y = sum(f[i, j] * spread[:, :, i : i + height, j : j + width] for i in range(f.shape[0]) for j in range(f.shape[1]))
    return y[:, :, :: down[1], :: down[0]] * gain


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
filters = st.one_of(st.just((4, 4)), st.tuples(st.integers(1, 6), st.integers(1, 6)))
shapes = st.tuples(
    st.integers(1, 2), st.sampled_from([1, 2, 3, 7, 15, 17, 37, 64]), st.integers(1, 20), st.integers(1, 40)
)


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


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, :, 1:-2, 3:],
        lambda x: x[:, 1::2],
        lambda x: x.flip(3).transpose(2, 3),
        lambda x: x[:1].expand(3, -1, -1, -1),
        lambda x: x[..., ::2],
    ],
    ids=["crop", "some channels", "transposed", "expanded", "some columns"],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_view_may_come_in(kernels, layout, view):
    x = view(random_images((2, 20, 12, 14), torch.float32, layout))
    f, arguments = torch.randn(4, 4), ((2, 2), (1, 1), (2, 1, 2, 1), True, 2.0)
    assert_close(kernels.fir(x, f, *arguments), fir_reference(x, f, *arguments), torch.float32, scale=20)
    y = kernels.epilogue(x, None, None, None, 0.2, 1.5, 0.5)
    assert_close(y, activate(x.double(), 0.2, 1.5, 0.5), torch.float32)
    dx, _, dbias, _ = kernels.epilogue_backward(x, y, None, None, 0.2, 1.5, 0.5, False, True, False)
    expected = x.double() * mask(y, 0.2, 1.5, 0.5)
    assert_close(dx, expected, torch.float32)
    assert_close(dbias, expected.sum((0, 2, 3)), torch.float32, scale=10)


# ---- epilogue -------------------------------------------------------------------------------------------------------


def activate(v: torch.Tensor, slope: float, gain: float, clamp: float | None) -> torch.Tensor:
    y = torch.where(v > 0, v, torch.nn.functional.relu(v) if slope == 0 else v * slope) * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def mask(y: torch.Tensor, slope: float, gain: float, clamp: float | None) -> torch.Tensor:
    """Derivative of the activation, from its stored result."""
    m = torch.ones_like(y, dtype=torch.float64).where(y > 0, slope) * gain
    return m if clamp is None else m.where(y.abs() < torch.tensor(clamp).to(y.dtype), 0)


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


# ---- types, threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [1, 64])  # single numbers and vectors
def test_every_16_bit_number_is_read_and_written_as_torch_does(kernels, dtype, channels):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    x = every.reshape(-1, channels)
    y = kernels.epilogue(x, None, None, None, 1.0, 1.0, None)
    torch.testing.assert_close(y, x, rtol=0, atol=0, equal_nan=True)
    halves = torch.full((channels,), 0.5)
    for scale in (1 / 3, 1.00390625, 2.0**-14, 3.0):  # inexact; ties; subnormal and overflowing results
        got = kernels.epilogue(x, torch.full(x.shape, scale), None, halves * 0, 1.0, 1.0, None)
        torch.testing.assert_close(got, (x.float() * scale).to(dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_number_of_threads_changes_no_bit(kernels, dtype, layout, threads):
    x = random_images((3, 70, 37, 41), dtype, layout)
    dy, scale, noise, bias = torch.randn_like(x), torch.rand(3, 70), torch.randn(3, 1, 37, 41), torch.randn(70)
    f = torch.randn(4, 4)

    def results():
        y = kernels.epilogue(x, scale, noise, bias, 0.2, 1.5, 2.0)
        gradients = kernels.epilogue_backward(dy, y, x, scale, 0.2, 1.5, 2.0, True, True, True)
        return [y, *gradients, kernels.fir(x, f, (2, 2), (1, 1), (2, 1, 2, 1), False, 1.0)]

    threads(1)
    alone = results()
    for number in (2, 3):
        threads(number)
        for together, one in zip(results(), alone, strict=True):
            assert torch.equal(together, one)


def test_the_threads_are_those_of_torch(kernels):
    if torch.backends.openmp.is_available() and Path("/proc/self/maps").exists():
        assert kernels.parallel, "torch runs on OpenMP here, but its GOMP_parallel was not found"


# ---- what is refused ------------------------------------------------------------------------------------------------

IMAGES, FILTER, PLAIN = torch.zeros(2, 3, 8, 8), torch.ones(4, 4), ((1, 1), (1, 1), (2, 1, 2, 1), False, 1.0)
REFUSED = {
    "type": lambda k: k.fir(IMAGES.int(), FILTER, *PLAIN),
    "device": lambda k: k.fir(IMAGES.to("meta"), FILTER, *PLAIN),
    "sparse": lambda k: k.epilogue(IMAGES.to_sparse(), None, None, None, 1.0, 1.0, None),
    "dimensions": lambda k: k.fir(IMAGES[0], FILTER, *PLAIN),
    "filter's dimensions": lambda k: k.fir(IMAGES, FILTER[0], *PLAIN),
    "empty filter": lambda k: k.fir(IMAGES, FILTER[:0], *PLAIN),
    "filter's device": lambda k: k.fir(IMAGES, FILTER.to("meta"), *PLAIN),
    "filter too large": lambda k: k.fir(IMAGES, FILTER, (1, 1), (1, 1), (-3, -3, 0, 0), False, 1.0),
    "up": lambda k: k.fir(IMAGES, FILTER, (0, 1), (1, 1), (2, 1, 2, 1), False, 1.0),
    "huge padding": lambda k: k.fir(IMAGES, FILTER, (1, 1), (1, 1), (2**31, 1 - 2**31, 0, 0), False, 1.0),
    "bias": lambda k: k.epilogue(IMAGES, None, None, torch.zeros(4), 1.0, 1.0, None),
    "scale": lambda k: k.epilogue(IMAGES, torch.zeros(2, 4), None, None, 1.0, 1.0, None),
    "noise": lambda k: k.epilogue(IMAGES, None, torch.zeros(2, 1, 8, 7), None, 1.0, 1.0, None),
    "noise of other images": lambda k: k.epilogue(IMAGES, None, torch.zeros(3, 1, 8, 8), None, 1.0, 1.0, None),
    "x": lambda k: k.epilogue_backward(IMAGES, None, IMAGES[:1], None, 1.0, 1.0, None, True, False, False),
    "type of y": lambda k: k.epilogue_backward(IMAGES, IMAGES.half(), None, None, 0.2, 1.0, None, False, False, False),
    "y missing": lambda k: k.epilogue_backward(IMAGES, None, None, None, 0.2, 1.0, None, False, False, False),
    "x missing": lambda k: k.epilogue_backward(IMAGES, IMAGES, None, None, 0.2, 1.0, None, True, False, False),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_before_any_pointer_is_taken(kernels, call):
    with pytest.raises(ValueError):
        call(kernels)


def test_a_file_that_is_no_library_is_reported(tmp_path):
    path = tmp_path / "_cpu_baseline.so"
    path.write_bytes(b"not a library")
    with pytest.raises(KernelsUnavailable, match="not usable"):
        cpu.open_library("baseline", path)
