"""What must hold on a CUDA device; skipped where there is none."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.loop import train
from stylegan2ada.ops import modulated_conv2d, setup_filter, upfirdn2d
from stylegan2ada.ops.grid_sample import grid_sample
from tests.toy_images import write_toy_zip

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_grid_sample_differentiates_twice():
    images = torch.randn(2, 1, 5, 6, dtype=torch.float64, device="cuda", requires_grad=True)
    grid = torch.rand(2, 4, 4, 2, dtype=torch.float64, device="cuda") * 2 - 1
    assert gradcheck(lambda x: grid_sample(x, grid), [images])
    assert gradgradcheck(lambda x: grid_sample(x, grid), [images])


@pytest.mark.parametrize("name", ["bgcfnc", "radiograph"])
def test_augmentation_equals_the_cpu(name):
    images = torch.randn(4, 1, 32, 32)
    pipe = make_augment_pipe(name)
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
