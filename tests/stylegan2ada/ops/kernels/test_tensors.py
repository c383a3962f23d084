"""What the kernels refuse, on the CPU and on CUDA alike, and what comes out of the checks."""

import types

import pytest
import torch

from stylegan2ada.ops.kernels import cpu, tensors
from stylegan2ada.ops.kernels.cuda import CudaKernels

CPU = torch.device("cpu")


def _launched(*arguments):
    pytest.fail("a kernel was launched")


def _no_function(*arguments):
    pytest.fail("a function of the library was called")


IMPLEMENTATIONS = {  # on tensors of the CPU, neither with a kernel to call
    "cpu": cpu.CpuKernels(
        types.SimpleNamespace(
            spinegan_fir=_no_function, spinegan_epilogue=_no_function, spinegan_epilogue_backward=_no_function
        ),
        None,
        "none",
    ),
    "cuda": CudaKernels(types.SimpleNamespace(device=CPU, launch=_launched)),
}


def negated(values: torch.Tensor) -> torch.Tensor:
    """A view whose memory holds the opposite of its values."""
    return torch._neg_view(values)


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
    "negated x": lambda k: k.epilogue(negated(IMAGES), None, None, None, 1.0, 1.0, None),
    "negated image": lambda k: k.fir(negated(IMAGES), FILTER, *PLAIN),
    "negated filter": lambda k: k.fir(IMAGES, negated(FILTER), *PLAIN),
    "negated bias": lambda k: k.epilogue(IMAGES, None, None, negated(torch.zeros(3)), 1.0, 1.0, None),
    "negated y": lambda k: k.epilogue_backward(IMAGES, negated(IMAGES), None, None, 0.2, 1.0, None, *[False] * 3),
    "sparse bias": lambda k: k.epilogue(IMAGES, None, None, torch.zeros(3).to_sparse(), 1.0, 1.0, None),
    "type of the bias": lambda k: k.epilogue(IMAGES, None, None, torch.zeros(3).int(), 1.0, 1.0, None),
    "device of the bias": lambda k: k.epilogue(IMAGES, None, None, torch.zeros(3).to("meta"), 1.0, 1.0, None),
    "x": lambda k: k.epilogue_backward(IMAGES, None, IMAGES[:1], None, 1.0, 1.0, None, True, False, False),
    "type of y": lambda k: k.epilogue_backward(IMAGES, IMAGES.half(), None, None, 0.2, 1.0, None, False, False, False),
    "y missing": lambda k: k.epilogue_backward(IMAGES, None, None, None, 0.2, 1.0, None, False, False, False),
    "x missing": lambda k: k.epilogue_backward(IMAGES, IMAGES, None, None, 0.2, 1.0, None, True, False, False),
}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_before_any_kernel_runs(implementation, call):
    with pytest.raises(ValueError):
        call(implementation)


def test_the_message_says_that_a_view_is_negated():
    with pytest.raises(ValueError, match=r"do not take x of torch\.float32 on cpu, .*, as a negated view"):
        tensors.dense(negated(IMAGES), CPU)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1), (2, 3, 8, 8), (2, 1, 8, 8), (2, 1, 1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dense_tensors_are_taken_as_they_are(shape, layout):
    x = torch.zeros(shape)
    x = x.contiguous(memory_format=layout) if len(shape) == 4 else x
    found, channels_last = tensors.dense(x, CPU)
    assert found is x or found.data_ptr() == x.data_ptr()
    if shape[2:] in ((), (1, 1)):
        assert channels_last  # or NCHW: the same memory
    else:
        assert channels_last == (layout == torch.channels_last and shape[1] > 1)


def test_tensors_with_gaps_are_copied_in_their_layout():
    images = torch.randn(2, 5, 6, 8)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = images.contiguous(memory_format=layout)[:, :, 1:4]
        found, channels_last = tensors.dense(x, CPU)
        assert torch.equal(found, x)
        assert found.is_contiguous(memory_format=layout)
        assert channels_last == (layout == torch.channels_last)


def test_the_cpu_with_an_index_is_the_cpu():
    x = torch.zeros(2, 3)
    assert tensors.dense(x, torch.device("cpu", 0))[0] is x
