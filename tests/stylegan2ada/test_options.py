"""Options of a command line to settings, with the official meanings."""

import pytest

from stylegan2ada import devices
from stylegan2ada.config import DataConfig, TrainingConfig
from stylegan2ada.errors import UserError
from stylegan2ada.options import RunOptions, resolve_config

DATA = DataConfig("set.zip", 256, 1, 1000)


def resolved(**options) -> TrainingConfig:
    return resolve_config(RunOptions(**options), DATA)


def test_nothing_given_is_the_automatic_configuration_with_ada():
    config = resolved()
    assert (config.total_kimg, config.batch_size, config.kimg_per_tick, config.snapshot_ticks) == (25000, 16, 4, 50)
    assert (config.seed, config.num_workers, config.resume) == (0, 3, None)
    assert (config.cudnn_benchmark, config.allow_tf32) == (True, False)
    assert (config.augment.mode, config.augment.pipe, config.augment.p) == ("ada", "bgc", 0)
    assert (config.augment.target, config.augment.ada_kimg, config.augment.interval) == (0.6, 500, 4)
    assert (config.network.channel_base, config.network.channel_max, config.network.mapping_layers) == (16384, 512, 2)
    assert (config.network.z_dim, config.network.w_dim) == (512, 512)
    assert (config.network.g_architecture, config.network.d_architecture) == ("skip", "resnet")
    assert (config.network.num_fp16_res, config.network.conv_clamp, config.network.freeze_layers) == (4, 256, 0)
    assert (config.loss.pl_weight, config.loss.pl_interval, config.loss.pl_decay) == (2, 4, 0.01)
    assert (config.loss.r1_interval, config.loss.pl_batch_shrink, config.loss.style_mixing_prob) == (16, 2, 0.9)
    assert (config.optimizer.beta1, config.optimizer.beta2, config.optimizer.eps) == (0.0, 0.99, 1e-8)
    assert isinstance(config.optimizer.beta1, float)


@pytest.mark.parametrize(
    ("cfg", "channel_base", "lr", "gamma", "mbstd", "ema_kimg", "ramp", "mapping"),
    [
        ("stylegan2", 32768, 0.002, 10, 4, 10, None, 8),
        ("paper256", 16384, 0.0025, 1, 8, 20, None, 8),
        ("paper512", 32768, 0.0025, 0.5, 8, 20, None, 8),
        ("paper1024", 32768, 0.002, 2, 4, 10, None, 8),
        ("cifar", 32768, 0.0025, 0.01, 32, 500, 0.05, 2),
    ],
)
def test_a_base_configuration_arrives_everywhere(cfg, channel_base, lr, gamma, mbstd, ema_kimg, ramp, mapping):
    config = resolved(cfg=cfg)
    assert (config.network.channel_base, config.network.mbstd_group_size) == (channel_base, mbstd)
    assert (config.optimizer.learning_rate, config.loss.r1_gamma) == (lr, gamma)
    assert (config.ema_kimg, config.ema_rampup, config.network.mapping_layers) == (ema_kimg, ramp, mapping)


def test_cifar_has_no_path_length_no_mixing_and_the_original_discriminator():
    config = resolved(cfg="cifar")
    assert (config.loss.pl_weight, config.loss.style_mixing_prob) == (0, 0)
    assert config.loss.pl_interval == 4, "the generator's learning rate stays 4/5 of the base, as official"
    assert (config.network.d_architecture, config.network.g_architecture) == ("orig", "skip")
    assert (config.total_kimg, config.batch_size) == (100000, 64)


def test_transfer_adapts_faster_and_has_no_ramp():
    config = resolved(resume="net.safetensors")
    assert (config.augment.ada_kimg, config.ema_rampup, config.resume) == (100, None, "net.safetensors")


@pytest.mark.parametrize("given", [{"fp32": True}, {"precision": "fp32"}, {"fp32": True, "precision": "fp32"}], ids=str)
def test_fp32(given):
    config = resolved(**given)
    assert (config.network.num_fp16_res, config.network.conv_clamp, config.precision) == (0, None, "fp32")


def test_the_network_does_not_depend_on_the_machine(monkeypatch):
    """`auto` may find float32 or bfloat16: the clamp of official mixed precision is there with both."""
    found = set()
    for fast in (False, True):
        monkeypatch.setattr(devices, "cpu_has_fast_bf16", lambda fast=fast: fast)
        config = resolved()
        found.add(config.precision)
        assert (config.network.num_fp16_res, config.network.conv_clamp) == (4, 256)
    assert found == {"fp32", "bf16"}


def test_fp32_against_another_precision():
    with pytest.raises(UserError, match="--fp32=1 and --precision=bf16 contradict each other"):
        resolved(fp32=True, precision="bf16")


def test_kernels():
    assert resolved().kernels == "auto"
    assert resolved(kernels="reference").kernels == "reference"


def test_what_is_given_wins_over_the_configuration():
    config = resolved(
        cfg="paper256", gamma=3, kimg=7, batch=32, snap=2, seed=9, aug="fixed", p=0.3, augpipe="bg", freezed=2,
        nobench=True, allow_tf32=True, workers=0, tick=1, channel_base=1024, channel_max=64, latent=32, ema_kimg=0.5,
    )  # fmt: skip
    assert (config.loss.r1_gamma, config.total_kimg, config.batch_size, config.snapshot_ticks) == (3, 7, 32, 2)
    assert (config.seed, config.augment.mode, config.augment.p, config.augment.pipe) == (9, "fixed", 0.3, "bg")
    assert (config.network.freeze_layers, config.network.channel_base, config.network.channel_max) == (2, 1024, 64)
    assert (config.network.z_dim, config.network.w_dim, config.ema_kimg, config.kimg_per_tick) == (32, 32, 0.5, 1)
    assert (config.cudnn_benchmark, config.allow_tf32, config.num_workers) == (False, True, 0)


def test_a_zero_that_is_given_is_not_taken_for_nothing_given():
    config = resolved(gamma=0, aug="fixed", p=0, ema_kimg=0)
    assert (config.loss.r1_gamma, config.augment.p, config.ema_kimg) == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus": 0}, "--gpus 0"),
        ({"p": 0.5}, "--p 0.5 needs --aug=fixed"),
        ({"p": 0.5, "aug": "noaug"}, "--p 0.5 needs --aug=fixed"),
        ({"aug": "fixed"}, "--aug=fixed needs --p"),
        ({"aug": "fixed", "p": 0.5, "target": 0.7}, "--target 0.7 needs --aug=ada"),
        ({"aug": "noaug", "target": 0.7}, "--target 0.7 needs --aug=ada"),
        ({"cfg": "stylegan3"}, "--cfg stylegan3 is unknown"),
        ({"gamma": -1}, "--gamma must be 0 or more, got -1"),
        ({"batch": 6}, "--batch 6 is not a multiple"),
    ],
)
def test_contradictions_raise(options, message):
    with pytest.raises(UserError, match=message):
        resolved(**options)


def test_options_overlay_each_other():
    merged = RunOptions(seed=1, fp32=False).over(RunOptions(seed=2, fp32=True, kimg=3))
    assert merged == RunOptions(seed=1, fp32=False, kimg=3)
