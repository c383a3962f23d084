"""Runs of some thousand weights on images of 16 px, for the tests of the loop."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from stylegan2ada.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    TrainingConfig,
)
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.loop import train

CPU = torch.device("cpu")
SIDE = 16


def write_squares(path: Path, seed: int = 0) -> Path:
    """24 images of noise in two classes, dark and bright."""
    rng = np.random.default_rng(seed)
    with DatasetWriter(path, classes=["dark", "bright"]) as writer:
        for index in range(24):
            writer.add(rng.integers(0, 128, (SIDE, SIDE)).astype(np.uint8) + 100 * (index % 2), index % 2)
    return path


def tiny_settings(dataset: ImageDataset, **changes) -> TrainingConfig:
    base = TrainingConfig(
        DataConfig(str(dataset.path), SIDE, 1, len(dataset), dataset.label_dim, dataset.class_names or ()),
        NetworkConfig(channel_base=64, channel_max=4, z_dim=4, w_dim=4, mapping_layers=1),
        LossConfig(r1_gamma=1.0),
        OptimizerConfig(0.002),
        AugmentConfig("ada", "bgc", ada_kimg=0.1),
        total_kimg=0.04, batch_size=4, ema_kimg=0.02, kimg_per_tick=0.016, snapshot_ticks=1, num_workers=0, seed=3,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def run(config: TrainingConfig, dataset: ImageDataset, folder: Path, **extensions) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return train(config, dataset, folder, CPU, **extensions)
