"""What must hold on a CUDA device; skipped where there is none."""

import math
import threading

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.augment import AUGMENT_PIPES, AugmentPipe
from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.loop import train
from stylegan2ada.ops import modulated_conv2d, setup_filter, upfirdn2d
from stylegan2ada.ops.grid_sample import grid_sample
from stylegan2ada.ops.kernels import find, plain
from stylegan2ada.ops.scale_bias_act import scale_bias_act
from tests.stylegan2ada.ops.kernels import cuda_checks
from tests.toy_images import write_toy_zip

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def _full_float32(monkeypatch) -> None:
    """By default convolutions on CUDA round what they read to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def test_grid_sample_differentiates_twice():
    images = torch.randn(2, 1, 5, 6, dtype=torch.float64, device="cuda", requires_grad=True)
    grid = torch.rand(2, 4, 4, 2, dtype=torch.float64, device="cuda") * 2 - 1
    assert gradcheck(lambda x: grid_sample(x, grid), [images])
    assert gradgradcheck(lambda x: grid_sample(x, grid), [images])


@pytest.mark.parametrize("name", ["bgcfnc", "radiograph"])
def test_augmentation_equals_the_cpu(name):
    """But for the noise, which every device draws itself."""
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    pipe = AugmentPipe(**AUGMENT_PIPES[name] | {"noise": 0})
    expected = pipe(images, debug_percentile=0.3)
    found = pipe.cuda()(images.cuda(), debug_percentile=0.3).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_operators_equal_the_cpu():
    x, weight, styles = torch.randn(2, 8, 16, 16), torch.randn(4, 8, 3, 3), torch.randn(2, 8)
    f = setup_filter([1, 3, 3, 1])
    for function in (
        lambda device: upfirdn2d(x.to(device), f.to(device), up=2, padding=(2, 1, 2, 1), gain=4),
        lambda device: modulated_conv2d(
            x.to(device), weight.to(device), styles.to(device), up=2, padding=1, resample_filter=f.to(device)
        ),
    ):
        torch.testing.assert_close(function("cuda").cpu(), function("cpu"), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("num_fp16_res", [0, 4])
def test_a_short_run(tmp_path, num_fp16_res):
    data = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1] * 8), use_labels=True)
    config = TrainingConfig(
        DataConfig(str(data.path), 32, 1, len(data), 2, data.class_names),
        NetworkConfig(512, 16, 16, 16, 2, num_fp16_res=num_fp16_res, conv_clamp=256 if num_fp16_res else None),
        augment=AugmentConfig("fixed", "bgc", 0.5),
        total_kimg=0.064,
        batch_size=8,
        kimg_per_tick=0.032,
        num_workers=0,
    )
    (tmp_path / "run").mkdir()
    assert train(config, data, tmp_path / "run", torch.device("cuda")).exists()


# ---- fused kernels --------------------------------------------------------------------------------------------------
# Their definitions hold on the CPU too, thread by thread: tests/stylegan2ada/ops/kernels/test_cuda_emulated.py.

RESAMPLING = [((1, 1), (1, 1), (1, 2, 2, 1)), ((2, 2), (1, 1), (2, 1, 2, 1)), ((1, 1), (2, 2), (1, 1, 1, 1))]
EPILOGUE = (0.2, math.sqrt(2), 1.5)  # slope, gain, clamp
memory_formats = pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)


@pytest.fixture(scope="module")
def fused():
    return find("fused", torch.device("cuda"), torch.float32)


def a_whole_pass(kernels, x, dy, f, scale, noise, bias):
    """All kernels one after the other."""
    filtered = kernels.fir(x, f, (2, 2), (1, 1), (2, 1, 2, 1), False, 4.0)
    small = kernels.fir(filtered, f, (1, 1), (2, 2), (1, 1, 1, 1), False, 1.0)
    y = kernels.epilogue(small, scale, noise, bias, *EPILOGUE)
    return y, *kernels.epilogue_backward(dy, y, small, scale, *EPILOGUE, True, True, True)


def inputs_of_a_pass(dtype, memory_format, shape=(4, 32, 66, 40)):
    x = torch.randn(shape, device="cuda").to(dtype).contiguous(memory_format=memory_format)
    scale, bias = torch.rand(shape[:2], device="cuda") + 0.5, torch.randn(shape[1], device="cuda")
    noise = torch.randn(shape[0], 1, *shape[2:], device="cuda")
    f = setup_filter([1, 3, 3, 1], device="cuda")
    return x, torch.randn_like(x), f, scale, noise, bias


@pytest.mark.parametrize("layout", cuda_checks.LAYOUTS)
@pytest.mark.parametrize("dtype", cuda_checks.TOLERANCES, ids=str)
class TestFusedKernels:
    @pytest.mark.parametrize("shape", [*cuda_checks.FIR_SHAPES, (3, 64, 70, 131)], ids=str)
    def test_fir(self, fused, dtype, layout, shape):
        cuda_checks.check_fir(fused, dtype, "cuda", shape, layout)

    @pytest.mark.parametrize("shape", [*cuda_checks.EPILOGUE_SHAPES, (5, 256, 65, 66), (64, 520)], ids=str)
    def test_epilogue(self, fused, dtype, layout, shape):
        cuda_checks.check_epilogue(fused, dtype, "cuda", shape, layout)
        cuda_checks.check_epilogue_backward(fused, dtype, "cuda", shape, layout)


@pytest.mark.parametrize("dtype", cuda_checks.TOLERANCES, ids=str)
def test_nan_inf_and_nothing_in_fused_kernels(fused, dtype):
    cuda_checks.check_extremes(fused, dtype, "cuda")
    cuda_checks.check_empty(fused, "cuda")


@memory_formats
def test_fused_kernels_in_a_graph(fused, memory_format):
    """A replay computes from what the inputs hold then."""
    inputs = inputs_of_a_pass(torch.bfloat16, memory_format)
    a_whole_pass(fused, *inputs)  # torch's own kernels, of the last sums, are loaded on first use
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = a_whole_pass(fused, *inputs)
    for _ in range(2):
        inputs[0].normal_()
        inputs[4].normal_()
        graph.replay()
        for found, expected in zip(captured, a_whole_pass(fused, *inputs), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@memory_formats
def test_fused_kernels_repeat_bit_for_bit(fused, memory_format):
    inputs = inputs_of_a_pass(torch.bfloat16, memory_format)
    for a, b in zip(a_whole_pass(fused, *inputs), a_whole_pass(fused, *inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_fused_kernels_on_another_stream(fused):
    """They wait for what that stream does, which is busy while they are launched."""
    inputs = inputs_of_a_pass(torch.float32, torch.channels_last)
    expected = a_whole_pass(fused, *inputs)
    late = torch.zeros_like(inputs[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(inputs[0])
        found = a_whole_pass(fused, late, *inputs[1:])
    torch.cuda.current_stream().wait_stream(stream)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_fused_kernels_in_a_fresh_thread(fused):
    """Autograd has threads of its own, in which nothing has touched CUDA yet."""
    inputs = inputs_of_a_pass(torch.float32, torch.channels_last)
    found = []
    thread = threading.Thread(target=lambda: found.extend(a_whole_pass(fused, *inputs)))
    thread.start()
    thread.join()
    for a, b in zip(found, a_whole_pass(fused, *inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_fused_kernels_on_the_second_device():
    inputs = inputs_of_a_pass(torch.float32, torch.channels_last)
    other = torch.device("cuda", 1)
    found = a_whole_pass(find("fused", other, torch.float32), *(t.to(other) for t in inputs))
    expected = a_whole_pass(find("fused", inputs[0].device, torch.float32), *inputs)
    assert torch.cuda.current_device() == 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu())


@memory_formats
@pytest.mark.parametrize(("up", "down", "padding"), RESAMPLING)
def test_gradients_of_upfirdn2d_with_fused_kernels(memory_format, up, down, padding):
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64, device="cuda").contiguous(memory_format=memory_format)
    x.requires_grad_()
    f = setup_filter([1, 3, 3, 1], device="cuda")
    for check in (gradcheck, gradgradcheck):
        assert check(lambda x: upfirdn2d(x, f, up, down, padding, kernels="fused"), [x], nondet_tol=0)


@memory_formats
@pytest.mark.parametrize("clamp", [None, 0.9])
def test_gradients_of_the_epilogue_with_fused_kernels(memory_format, clamp):
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64, device="cuda").contiguous(memory_format=memory_format)
    scale, noise, bias = (torch.randn(s, dtype=torch.float64, device="cuda") for s in ((2, 4), (1, 1, 3, 5), (4,)))
    inputs = [t.requires_grad_() for t in (x, scale, noise, bias)]
    for check in (gradcheck, gradgradcheck):
        assert check(lambda *t: scale_bias_act(*t, 0.2, 1.4, clamp, kernels="fused"), inputs)


@pytest.mark.slow
@memory_formats
def test_fused_kernels_beyond_32_bits(fused, memory_format):
    """More elements than 32 bits count."""
    shape = (17, 32, 2048, 2048)  # 4.6 GB in 16 bits
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB of free memory")
    x = torch.randn(shape[1:], device="cuda").bfloat16().expand(shape).contiguous(memory_format=memory_format)
    f = setup_filter([1, 3, 3, 1], device="cuda")
    scale, bias = torch.rand(shape[:2], device="cuda"), torch.randn(shape[1], device="cuda")
    blur = (f, (1, 1), (1, 1), (1, 2, 1, 2), False, 1.0)
    y = fused.fir(x, *blur)
    torch.testing.assert_close(y[-1:], plain.fir(x[-1:], *blur), rtol=0.02, atol=0.02)
    del y
    y = fused.epilogue(x, scale, None, bias, *EPILOGUE)
    torch.testing.assert_close(
        y[-1:], plain.epilogue(x[-1:], scale[-1:], None, bias, *EPILOGUE), rtol=0.02, atol=0.02
    )
    dx, dscale, _, _ = fused.epilogue_backward(x, y, x, scale, *EPILOGUE, True, False, False)
    last = fused.epilogue_backward(x[-1:], y[-1:], x[-1:], scale[-1:], *EPILOGUE, True, False, False)
    torch.testing.assert_close(dx[-1:], last[0], rtol=0, atol=0)
    torch.testing.assert_close(dscale[-1:], last[1], rtol=1e-4, atol=1e-2)
