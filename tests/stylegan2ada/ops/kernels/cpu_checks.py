"""What the tests of the CPU kernels share: the definitions in float64, layouts, tolerances."""

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LAYOUTS = [torch.contiguous_format, torch.channels_last]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
SEVERAL = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

shapes = st.tuples(
    st.integers(1, 2), st.sampled_from([1, 2, 3, 7, 15, 17, 37, 64]), st.integers(1, 20), st.integers(1, 40)
)


def random_images(shape, dtype, layout=torch.contiguous_format) -> torch.Tensor:
    return torch.randn(shape).to(dtype).contiguous(memory_format=layout)


def assert_close(got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, scale: float = 1.0) -> None:
    torch.testing.assert_close(
        got.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, equal_nan=True
    )


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


def activate(v: torch.Tensor, slope: float, gain: float, clamp: float | None) -> torch.Tensor:
    y = torch.where(v > 0, v, torch.nn.functional.relu(v) if slope == 0 else v * slope) * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def mask(y: torch.Tensor, slope: float, gain: float, clamp: float | None) -> torch.Tensor:
    """Derivative of the activation, from its stored result."""
    m = torch.ones_like(y, dtype=torch.float64).where(y > 0, slope) * gain
    return m if clamp is None else m.where(y.abs() < torch.tensor(clamp).to(y.dtype), 0)
