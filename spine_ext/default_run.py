"""The embedded default: phantom radiographs as DICOM, converted by the DICOM tool, at a scale a laptop can train.

Every step leaves its result in a cache folder, and is skipped when the result is there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stylegan2ada.config import DataConfig
from stylegan2ada.options import RunOptions
from stylegan2ada.progress import ProgressLine

from .convert import convert
from .phantom import make_phantom_dataset
from .phantom.dataset import PHANTOM_VERSION
from .vindr import LABEL_SETS

NOTICE = "built-in phantom: drawn shapes, not clinical data"

# 64 px and a small network: about eight minutes on two CPU cores. A run of two thousand steps needs twice the usual
# learning rate and a short average, leaves ADA no time to act, and gains nothing from path lengths and style mixing.
PHANTOM_SCALE = RunOptions(
    batch=16, kimg=30, tick=0.5, snap=20, channel_base=2048, channel_max=64, latent=128, ema_kimg=1.0, gamma=1.0,
    lr=0.005, pl_weight=0.0, style_mixing=0.0, aug="noaug", workers=0,
)  # fmt: skip

PHANTOM_CLASSIFIER_EPOCHS = 12
CONVERSION_VERSION = 2  # raise it when the same DICOM files give other datasets; 2 knows which images share a study


@dataclass(frozen=True)
class PhantomSize:
    """How many phantoms, for which labels, at which side in pixels."""

    train: int = 1500
    test: int = 500
    labels: str = "binary"
    resolution_px: int = 64
    seed: int = 0

    @property
    def name(self) -> str:
        return f"phantom{PHANTOM_VERSION}-{self.train}-{self.test}-seed{self.seed}"

    def data_config(self, path: Path) -> DataConfig:
        """What a training set of this size will look like (some images are flawed on purpose and drop out)."""
        classes = LABEL_SETS[self.labels].classes
        return DataConfig(str(path), self.resolution_px, 1, self.train, len(classes), tuple(classes))


@dataclass(frozen=True)
class PhantomDatasets:
    train_zip: Path
    test_zip: Path


def phantom_paths(cache_dir: Path, size: PhantomSize) -> PhantomDatasets:
    folder = cache_dir / size.name / f"conversion{CONVERSION_VERSION}"
    stem = f"{size.labels}-{size.resolution_px}px"
    return PhantomDatasets(folder / f"train-{stem}.zip", folder / f"test-{stem}.zip")


def prepare_phantom(cache_dir: Path, size: PhantomSize, log: Callable[[str], None]) -> PhantomDatasets:
    """Draws the phantoms and converts both splits, unless they are in the cache."""
    paths = phantom_paths(cache_dir, size)
    dicom_dir = cache_dir / size.name / "dicom"
    if paths.train_zip.exists() and paths.test_zip.exists():
        log(f"phantom datasets: {paths.train_zip.parent} (from an earlier run)")
        return paths
    log(f"{size.train} training and {size.test} test phantoms as DICOM files: {dicom_dir}")
    make_phantom_dataset(
        dicom_dir, train=size.train, test=size.test, seed=size.seed, progress=ProgressLine("phantom", "image")
    )
    for split, dest in {"train": paths.train_zip, "test": paths.test_zip}.items():
        report = convert(
            dicom_dir / f"{split}_images", dicom_dir / "annotations" / f"{split}.csv", dest, labels=size.labels,
            resolution=size.resolution_px, overwrite=True, notice=NOTICE, progress=ProgressLine("converting", "image"),
        )  # fmt: skip
        for line in report.lines():
            log(f"  {line}")
    return paths
