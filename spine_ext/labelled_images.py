"""What the classifier needs of a dataset, and parts and unions of datasets that give it."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from stylegan2ada.errors import UserError


class LabelledImages(Protocol):
    """N images of one size with one-hot labels; `stylegan2ada.dataset.ImageDataset` is one."""

    @property
    def name(self) -> str: ...

    @property
    def resolution(self) -> int: ...

    @property
    def num_channels(self) -> int: ...

    @property
    def class_names(self) -> tuple[str, ...] | None: ...

    @property
    def labels(self) -> np.ndarray:
        """float32 (N,K)."""

    @property
    def groups(self) -> np.ndarray | None:
        """int (N,), equal for images of one study; None where the studies are not known."""

    @property
    def image_names(self) -> tuple[str, ...]: ...

    @property
    def notice(self) -> str | None:
        """What whoever uses the images should know, e.g. that they are not clinical."""

    def fingerprint(self) -> str:
        """Equal for equal images and labels; no image is decoded for it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (C,H,W) pixels and float32 (K,) label."""


class Joined:
    """The images of several datasets, one after the other. They must agree in size, channels and classes."""

    def __init__(self, datasets: Sequence[LabelledImages]) -> None:
        first = datasets[0]
        for other in datasets[1:]:
            check_same_form(first, other)
            if not same_classes(names_of_classes(first), names_of_classes(other)):
                raise UserError(
                    f"{first.name} has the classes {', '.join(names_of_classes(first))}, {other.name} has "
                    f"{', '.join(names_of_classes(other))}: join datasets with the same classes"
                )
        self.name = "+".join(dataset.name for dataset in datasets)
        self.resolution = first.resolution
        self.num_channels = first.num_channels
        self.class_names = first.class_names
        self.labels = np.concatenate([dataset.labels for dataset in datasets])
        self.groups = _joined_groups(datasets)
        self.image_names = tuple(name for dataset in datasets for name in dataset.image_names)
        self.notice = "; ".join(sorted({dataset.notice for dataset in datasets if dataset.notice})) or None
        self._datasets = tuple(datasets)
        self._places = [(dataset, index) for dataset in datasets for index in range(len(dataset))]

    def fingerprint(self) -> str:
        return _hash(*(dataset.fingerprint() for dataset in self._datasets))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        dataset, place = self._places[index]
        return dataset[place]


class Selection:
    """Some images of a dataset, in the given order."""

    def __init__(self, dataset: LabelledImages, indices: Sequence[int]) -> None:
        self._dataset = dataset
        self._indices = [int(index) for index in indices]
        self.name = dataset.name
        self.resolution = dataset.resolution
        self.num_channels = dataset.num_channels
        self.class_names = dataset.class_names
        self.labels = dataset.labels[self._indices]
        self.groups = None if dataset.groups is None else dataset.groups[self._indices]
        self.image_names = tuple(dataset.image_names[index] for index in self._indices)
        self.notice = dataset.notice

    def fingerprint(self) -> str:
        return _hash(self._dataset.fingerprint(), *map(str, self._indices))

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._dataset[self._indices[index]]


def names_of_classes(dataset: LabelledImages) -> tuple[str, ...]:
    """The names of the classes, which are their numbers where the dataset gives no names."""
    return dataset.class_names or tuple(str(label) for label in range(dataset.labels.shape[1]))


def same_classes(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether the names agree in order; where one side has only numbers, whether there are as many."""
    numbers = tuple(str(label) for label in range(len(first)))
    return first == second or (len(first) == len(second) and numbers in (first, second))


def check_test_classes(train: LabelledImages, test: LabelledImages, place: str) -> None:
    """Raises `UserError` unless the test images, which are at `place`, have the classes of the training images."""
    expected, found = names_of_classes(train), names_of_classes(test)
    if not same_classes(expected, found):
        raise UserError(
            f"{place} has the classes {', '.join(found)}, the training images have {', '.join(expected)}: "
            "convert both with the same --labels"
        )


def classes_of(dataset: LabelledImages) -> np.ndarray:
    """The class of each image, int (N,). Raises `UserError` unless two or more classes have images."""
    labels = dataset.labels
    if labels.shape[1] < 2 or not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
        raise UserError(
            f"{dataset.name} has no labels of two or more classes: its dataset.json must give each image a "
            "class number, as dataset_tool_dicom.py writes it"
        )
    counts = labels.sum(axis=0)
    if not counts.all():
        empty = ", ".join(name for name, count in zip(names_of_classes(dataset), counts, strict=True) if not count)
        raise UserError(f"{dataset.name} has no image of {empty}: every class needs images")
    return labels.argmax(axis=1)


def balanced_subset(dataset: LabelledImages, count: int, seed: int) -> Selection:
    """`count` images drawn without repetition, as many of each class (of the first ones one more at times)."""
    classes, num_classes = classes_of(dataset), dataset.labels.shape[1]
    generator = np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(names_of_classes(dataset)):
        share = (count + num_classes - 1 - label) // num_classes
        members = np.flatnonzero(classes == label)
        if len(members) < share:
            raise UserError(
                f"{dataset.name} has {len(members)} images of {name}, but {count} balanced images need "
                f"{share}: ask for fewer, or generate more"
            )
        chosen.append(generator.permutation(members)[:share])
    return Selection(dataset, np.sort(np.concatenate(chosen)))


def proportional_subset(dataset: LabelledImages, count: int, seed: int) -> Selection:
    """About `count` images drawn without repetition: of each class its share, and at least one image."""
    classes = classes_of(dataset)
    share = min(count / len(dataset), 1)
    generator = np.random.default_rng(seed)
    chosen = []
    for label in range(dataset.labels.shape[1]):
        members = np.flatnonzero(classes == label)
        chosen.append(generator.permutation(members)[: max(1, round(share * len(members)))])
    return Selection(dataset, np.sort(np.concatenate(chosen)))


def check_same_form(first: LabelledImages, other: LabelledImages) -> None:
    """Raises `UserError` unless both have images of one size and number of channels."""
    _check_same(first, other, "resolution", "px")
    _check_same(first, other, "num_channels", "channels")


def _check_same(first: LabelledImages, other: LabelledImages, attribute: str, unit: str) -> None:
    if getattr(first, attribute) != getattr(other, attribute):
        raise UserError(
            f"{first.name} has images of {getattr(first, attribute)} {unit}, {other.name} of "
            f"{getattr(other, attribute)}: convert them alike"
        )


def _joined_groups(datasets: Sequence[LabelledImages]) -> np.ndarray | None:
    """Groups of different datasets are different; an image whose study is not known is one of its own."""
    if all(dataset.groups is None for dataset in datasets):
        return None
    parts, first = [], 0
    for dataset in datasets:
        groups = np.arange(len(dataset)) if dataset.groups is None else dataset.groups
        _, numbers = np.unique(groups, return_inverse=True)
        parts.append(first + numbers)
        first += len(dataset)
    return np.concatenate(parts)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
