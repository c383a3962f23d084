"""Settings: checked on construction, and the same after a trip through JSON."""

import dataclasses
import json

import pytest

from stylegan2ada.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    TrainingConfig,
    config_from_dict,
)
from stylegan2ada.errors import UserError

DATA = DataConfig("set.zip", 64, 1, 100, 2, ("normal", "abnormal"))
NAN, INF = float("nan"), float("inf")


def config(**changes) -> TrainingConfig:
    return dataclasses.replace(TrainingConfig(DATA), **changes)


def through_json(values: dict) -> dict:
    return json.loads(json.dumps(values, allow_nan=False))


def test_json_round_trip_of_every_field():
    """No field keeps its default, so none that were lost on the way would go unnoticed."""
    original = TrainingConfig(
        DataConfig("a b.zip", 128, 3, 7, 2, ("x", "y"), subset=5, mirror=True),
        NetworkConfig(1024, 64, 32, 16, 3, "orig", "skip", 2, 1, 256.0, 4),
        LossConfig(0.5, 8, 1.0, 2, 0.1, 4, 0.5),
        OptimizerConfig(0.01, 0.5, 0.9, 1e-6),
        AugmentConfig("fixed", "bg", 0.25, 0.7, 100.0, 8),
        total_kimg=3, batch_size=8, micro_batch_size=4, ema_kimg=1.5, ema_rampup=0.1, kimg_per_tick=0.5,
        snapshot_ticks=2, keep_snapshots=3, seed=5, num_workers=0,
        resume="net.safetensors", cudnn_benchmark=False, allow_tf32=True, precision="fp16",
        kernels="fused", cuda_graphs=False, notes=("a", "b"),
        extensions={"clinical_term": {"gamma": 0.5}},
    )  # fmt: skip
    plain = TrainingConfig(DATA)
    for name in (field.name for field in dataclasses.fields(original)):
        assert getattr(original, name) != getattr(plain, name), f"{name} is not exercised"
    assert config_from_dict(through_json(original.to_dict())) == original


def test_names_and_notes_in_any_language():
    names = ("Wirbelkörper", "骨折", "שבר", "a\u00a0b")
    assert config(data=DataConfig("set.zip", 64, 1, 5, 4, names), notes=names).notes == names


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().seed = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: config(batch_size=0), "--batch must be at least 1, got 0"),
        (lambda: config(batch_size=6), "--batch 6 is not a multiple of the minibatch-std group size 4"),
        (lambda: config(batch_size=1), "--batch 1 is too small for path length regularisation"),
        (lambda: config(total_kimg=0), "--kimg must be above 0, got 0"),
        (lambda: config(total_kimg=INF), "--kimg must be above 0, got inf"),
        (lambda: config(total_kimg=NAN), "--kimg must be above 0, got nan"),
        (lambda: config(kimg_per_tick=0), "--tick must be above 0, got 0"),
        (lambda: config(ema_kimg=-1), "--ema-kimg must be 0 or more, got -1"),
        (lambda: config(snapshot_ticks=0), "--snap must be at least 1, got 0"),
        (lambda: config(num_workers=-1), "--workers must be 0 or more, got -1"),
        (lambda: config(network=NetworkConfig(channel_base=32)), "--channel-base 32 leaves no feature map at 64 px"),
        (lambda: NetworkConfig(z_dim=0), "z_dim must be at least 1, got 0"),
        (lambda: NetworkConfig(freeze_layers=-1), "--freezed must be 0 or more, got -1"),
        (lambda: NetworkConfig(d_architecture="vgg"), "one of orig, skip, resnet, got vgg"),
        (lambda: LossConfig(r1_gamma=-0.1), "--gamma must be 0 or more, got -0.1"),
        (lambda: LossConfig(r1_gamma=INF), "--gamma must be 0 or more, got inf"),
        (lambda: OptimizerConfig(learning_rate=0), "--lr must be above 0, got 0"),
        (lambda: AugmentConfig(mode="some"), "--aug is one of noaug, ada, fixed, got some"),
        (lambda: AugmentConfig(p=1.5), "--p must be between 0 and 1, got 1.5"),
        (lambda: AugmentConfig(p=NAN), "--p must be between 0 and 1, got nan"),
        (lambda: AugmentConfig(target=-1), "--target must be between 0 and 1, got -1"),
        (lambda: DataConfig("set.zip", 64, 2, 5), "images have 2 channels"),
        (lambda: DataConfig("set.zip", 64, 1, 0), "set.zip holds no images"),
        (lambda: DataConfig("set.zip", 48, 1, 5), "48 pixels a side; a power of two"),
        (lambda: DataConfig("set.zip", 64, 1, 5, 3, ("a", "b")), "set.zip has 2 class names for 3 classes"),
        (lambda: DataConfig("set.zip", 64, 1, 5, 0, ("a",)), "set.zip has 1 class names for 0 classes"),
        (lambda: DataConfig("set.zip", 64, 1, 5, 1, ("a\x1b[2J",)), "class names with control characters"),
        (lambda: DataConfig("set.zip", 64, 1, 5, 1, ("\ud800",)), "class names with control characters"),
        (lambda: DataConfig("set.zip", 64, 1, 5, 1, ("a" * 257,)), "of more than 256 characters"),
        (lambda: config(notes=("one\ntwo",)), "a note on the run has control characters"),
    ],
)
def test_impossible_settings_raise(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values.pop("data"),
        lambda values: values.update(novel=1),
        lambda values: values["network"].update(novel=1),
        lambda values: values.update(data=None),
        lambda values: values.update(network=[1, 2]),
        lambda values: values.update(batch_size="many"),
        lambda values: values["data"].update(resolution_px=64.5),
    ],
    ids=["missing", "unknown", "unknown inside", "null part", "list part", "text for number", "fraction"],
)
def test_stored_settings_that_do_not_fit_raise(spoil):
    values = through_json(config().to_dict())
    spoil(values)
    with pytest.raises(UserError, match="stored training options do not fit this version"):
        config_from_dict(values)


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_something_else_than_settings_raises(values):
    with pytest.raises(UserError, match="stored training options do not fit this version"):
        config_from_dict(values)
