"""What a downstream run is asked for: images, settings, and what of them decides the result."""

import dataclasses
import hashlib
import json

import numpy as np

from stylegan2ada.errors import UserError

from ..classifier_training import TrainingSettings, check_validation_fraction
from ..labelled_images import (
    Joined,
    LabelledImages,
    check_same_form,
    check_test_classes,
    classes_of,
    names_of_classes,
)
from .judgement import check_threshold

LEAST_TEST_IMAGES = 2  # of each class: DeLong's variance needs them


@dataclasses.dataclass(frozen=True)
class TrainingSets:
    """What to train on. order: "joined" (whatever is there, at once), or "pretrain": `synthetic`, and then `real`.

    Raises `UserError` where nothing is there, or one part of two is missing, or they do not fit together.
    """

    real: LabelledImages | None = None
    synthetic: LabelledImages | None = None
    order: str = "joined"

    def __post_init__(self) -> None:
        if self.order not in ("joined", "pretrain"):
            raise ValueError(f"order is {self.order!r}, not joined or pretrain")
        if self.order == "pretrain" and (self.real is None or self.synthetic is None):
            raise UserError("pre-training needs synthetic images, and fine-tuning real ones: give both")
        Joined(self.parts)  # raises where they differ in size, channels or classes
        for part in self.parts:
            classes_of(part)

    @property
    def parts(self) -> list[LabelledImages]:
        parts = [part for part in (self.real, self.synthetic) if part is not None]
        if not parts:
            raise UserError("there are no images to train on: give real or synthetic ones")
        return parts

    @property
    def protocol(self) -> str:
        if self.order == "pretrain":
            return "synthetic pre-training, then real"
        return " and ".join(name for name in ("real", "synthetic") if getattr(self, name) is not None)


@dataclasses.dataclass(frozen=True)
class DownstreamSettings:
    """Of one run. epochs and learning_rate: of each phase; fine-tuning after pre-training has a tenth of the rate.

    weights: see `weights.load_starting_weights`. precision: "auto" (bf16 where the device is fast in it), "fp32" or
    "bf16"; the test is always float32. validation_fraction: of the images from which the epoch is chosen; 0 takes the
    last epoch. threshold: for the confusion table of two classes; None: Youden's on the validation images.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    weights: str = "auto"
    precision: str = "auto"
    validation_fraction: float = 0.1
    threshold: float | None = None

    def __post_init__(self) -> None:
        self.phase("fp32", self.learning_rate)  # raises
        check_validation_fraction(self.validation_fraction)
        check_threshold(self.threshold)
        if self.precision not in ("auto", "fp32", "bf16"):
            raise UserError(f"the precision is {self.precision!r}: give auto, fp32 or bf16")

    def phase(self, precision: str, learning_rate: float) -> TrainingSettings:
        return TrainingSettings(self.epochs, self.batch_size, learning_rate, self.seed, precision)


def check_test(train: LabelledImages, test: LabelledImages, threshold: float | None) -> None:
    """Raises `UserError` unless `test` has the form and classes of `train`, and enough images of each class."""
    if threshold is not None and len(names_of_classes(test)) > 2:
        raise UserError(f"the threshold {threshold} is for two classes, {test.name} has more: leave it out")
    check_test_classes(train, test, test.name)
    check_same_form(train, test)
    counts = np.bincount(classes_of(test))
    for name, count in zip(names_of_classes(test), counts.tolist(), strict=True):
        if count < LEAST_TEST_IMAGES:
            raise UserError(
                f"{test.name} has a single image of {name}: an interval of the AUC needs {LEAST_TEST_IMAGES}"
            )


def request_of(
    training: TrainingSets, test: LabelledImages, settings: DownstreamSettings, precision: str
) -> dict[str, str]:
    """What decides the result, each answer as its hash; it stands in the folder, where another request is refused."""
    data = {"real images": training.real, "synthetic images": training.synthetic, "test images": test}
    images = {name: None if part is None else _identity(part) for name, part in data.items()}
    answers = {"order": training.order, **images, **dataclasses.asdict(settings), "precision": precision}
    return {name: _hash(answer) for name, answer in answers.items()}


def identity_of_test(test: LabelledImages) -> str:
    """What stands for the test images in `request_of`."""
    return _hash(_identity(test))


def _identity(images: LabelledImages) -> list:
    """Images and labels, and which images belong together, since that decides the split."""
    groups = None if images.groups is None else np.unique(images.groups, return_inverse=True)[1].tolist()
    return [images.fingerprint(), groups]


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
