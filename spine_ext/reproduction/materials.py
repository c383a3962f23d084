"""The data sets of a reproduction: the user's, or phantoms drawn for it; and the step that describes them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stylegan2ada.dataset import ImageDataset
from stylegan2ada.errors import UserError

from ..default_run import PhantomSize, phantom_paths, prepare_phantom
from ..labelled_images import check_test_classes, classes_of, names_of_classes
from ..vindr import LABEL_SETS
from .steps import Outcome, Step, StepPlace

PHANTOM_TRAIN, PHANTOM_TEST = 1500, 1500
JUDGE_TEST = 20  # there must be some; the judge is tested on the same images as all others


@dataclass(frozen=True)
class DataFiles:
    """Where training and test images lie. `phantom`: drawn when they are first wanted."""

    train: Path
    test: Path
    phantom: PhantomSize | None = None
    cache_dir: Path | None = None

    def prepare(self, log: Callable[[str], None] = print) -> None:
        """Draws the phantoms, unless they are in the cache."""
        if self.phantom is not None:
            prepare_phantom(self.cache_dir, self.phantom, log)

    @property
    def identity(self) -> dict:
        """What decides the images: how phantoms are drawn, or the contents of the user's files."""
        if self.phantom is not None:
            return {"phantom": self.phantom.name, "labels": self.phantom.labels, "side_px": self.phantom.resolution_px}
        return {"train": self.training_set.fingerprint(), "test": self.test_set.fingerprint()}

    @property
    def num_train(self) -> int:
        """About how many training images there are; of phantoms, some are flawed on purpose and drop out."""
        return len(self.training_set) if self.phantom is None else self.phantom.train

    @property
    def num_classes(self) -> int:
        return self.training_set.label_dim if self.phantom is None else len(LABEL_SETS[self.phantom.labels].classes)

    @cached_property
    def training_set(self) -> ImageDataset:
        if not self.train.exists():
            self.prepare()
        return ImageDataset(self.train, use_labels=True)

    @cached_property
    def test_set(self) -> ImageDataset:
        test = ImageDataset(self.test, resolution=self.training_set.resolution, use_labels=True)
        check_test_classes(self.training_set, test, str(self.test))
        for images in (self.training_set, test):
            classes_of(images)  # every class must have images
        if len(self.training_set.class_names or "12") == 2 and test.fingerprint() == self.training_set.fingerprint():
            raise UserError(f"{self.test} holds the training images: test on images kept out of training")
        return test


@dataclass(frozen=True)
class Materials:
    """`binary`: normal and abnormal; `lesions`: the classes of MultiConditional, None where there are none; `judge`:
    images that no network and no test sees, for the classifier whose features compare images. Only phantoms have them.
    """

    binary: DataFiles
    lesions: DataFiles | None = None
    judge: DataFiles | None = None


def phantom_materials(cache_dir: Path) -> Materials:
    judge = _phantom(cache_dir, "binary", JUDGE_TEST, seed=1)
    return Materials(_phantom(cache_dir, "binary"), _phantom(cache_dir, "lesion"), judge)


def given_materials(train: str, test: str, lesion_train: str | None, lesion_test: str | None) -> Materials:
    """Opens and checks the user's data sets now. Raises UserError for whatever is wrong with them."""
    if (lesion_train is None) != (lesion_test is None):
        missing = "--lesion-test" if lesion_test is None else "--lesion-train"
        raise UserError(f"MultiConditional needs both --lesion-train and --lesion-test: {missing} is missing")
    binary = DataFiles(Path(train), Path(test))
    if len(names := names_of_classes(binary.training_set)) != 2:
        remedy = "give one of two, converted with --labels binary"
        raise UserError(f"--train {train} has {len(names)} classes: {remedy}")
    sets = [binary] if lesion_train is None else [binary, DataFiles(Path(lesion_train), Path(lesion_test))]
    for one in sets:
        _ = one.test_set  # opened and checked now
    return Materials(binary, sets[1] if len(sets) == 2 else None)


def data_step(materials: Materials) -> Step:
    """Draws the phantoms, where they are wanted, and counts images."""
    sets = {"binary": materials.binary, "lesions": materials.lesions}
    identities = {name: None if files is None else files.identity for name, files in sets.items()}

    def work(place: StepPlace) -> Outcome:
        for files in (*sets.values(), materials.judge):
            if files is not None:
                files.prepare(place.log)
        train = materials.binary.training_set
        described = _described(materials.binary) | {
            "name": train.name if materials.binary.phantom is None else materials.binary.phantom.name,
            "notice": train.notice,
            "resolution_px": train.resolution,
        }
        lesions = None if materials.lesions is None else _described(materials.lesions)
        return Outcome(described | {"lesions": lesions})

    sizes = [files.phantom for files in (materials.binary, materials.judge) if files is not None]
    drawn = sum(size.train + size.test for size in sizes if size is not None)
    return Step("data", "data", identities, work, images=drawn)


def _phantom(cache_dir: Path, labels: str, test: int = PHANTOM_TEST, seed: int = 0) -> DataFiles:
    size = PhantomSize(train=PHANTOM_TRAIN, test=test, labels=labels, seed=seed)
    paths = phantom_paths(cache_dir, size)
    return DataFiles(paths.train_zip, paths.test_zip, size, cache_dir)


def _described(files: DataFiles) -> dict:
    return {
        "class_names": list(names_of_classes(files.training_set)),
        "train": _counts(files.training_set),
        "test": _counts(files.test_set),
    }


def _counts(images: ImageDataset) -> dict:
    groups = getattr(images, "groups", None)
    return {
        "images": len(images),
        "by_class": images.labels.sum(axis=0).astype(int).tolist(),
        "studies": None if groups is None else len(np.unique(groups)),
    }
