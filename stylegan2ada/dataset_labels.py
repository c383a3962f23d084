"""The labels of an image dataset, out of the `dataset.json` beside its images. N images, K labels."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .errors import UserError
from .image_files import ImageFiles, read_text

INDEX_NAME = "dataset.json"
MAX_CLASSES = 2**16
MAX_GROUP = 2**31
MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Labels(NamedTuple):
    """One label per image: int64 (N,) classes, or float32 (N,K) vectors."""

    values: np.ndarray
    dim: int
    class_names: tuple[str, ...] | None = None

    def vectors(self, indices: np.ndarray) -> np.ndarray:
        """float32 (len(indices), K): one-hot for classes, vectors as they stand in the file."""
        values = self.values[indices]
        if values.ndim == 2:
            return values
        one_hot = np.zeros((len(values), self.dim), dtype=np.float32)
        one_hot[np.arange(len(values)), values] = 1
        return one_hot


def no_labels(count: int) -> Labels:
    """Labels of K = 0."""
    return Labels(np.zeros((count, 0), dtype=np.float32), dim=0)


def read_labels(files: ImageFiles, image_names: Sequence[str]) -> Labels:
    """The label of every named image; K counts the classes of the whole file, in use or not."""
    where = f"{INDEX_NAME} in {files.path}"
    if INDEX_NAME not in files.names():
        raise UserError(f"{files.path} has no {INDEX_NAME} at its top: add it, or train without labels")
    index = _parse(read_text(files, INDEX_NAME), where)
    by_name = _labels_by_name(index.get("labels"), where)
    _check_names_match(by_name, image_names, where)
    labels = [by_name[name] for name in image_names]
    class_names = _class_names(index.get("classes"), where)
    if all(type(label) is int for label in labels):
        return _class_labels(labels, class_names, where)
    return _vector_labels(labels, class_names, where)


def read_notice(files: ImageFiles) -> str | None:
    """What the maker of the dataset wants everyone to know of it, e.g. that it is not clinical; None: nothing."""
    if INDEX_NAME not in files.names():
        return None
    notice = _parse(read_text(files, INDEX_NAME), f"{INDEX_NAME} in {files.path}").get("notice")
    return notice if isinstance(notice, str) else None


def read_groups(files: ImageFiles, image_names: Sequence[str]) -> np.ndarray | None:
    """int64 (N,): a number per named image, equal for images that belong together; None where the file has none.

    `groups` stands in the order of `labels`, or without labels in that of the names.
    """
    if INDEX_NAME not in files.names():
        return None
    where = f"{INDEX_NAME} in {files.path}"
    index = _parse(read_text(files, INDEX_NAME), where)
    groups = index.get("groups")
    if groups is None:
        return None
    if not (isinstance(groups, list) and all(type(group) is int and 0 <= group < MAX_GROUP for group in groups)):
        raise UserError(f"'groups' of {where} must be a list of whole numbers from 0; make the dataset again")
    names = image_names
    if index.get("labels") is not None:
        names = list(_labels_by_name(index["labels"], where))
    by_name = dict(zip(names, groups, strict=False))
    if len(names) != len(groups) or not by_name.keys() >= set(image_names):
        raise UserError(
            f"'groups' of {where} has {len(groups)} numbers for {len(image_names)} images: make the dataset again"
        )
    return np.array([by_name[name] for name in image_names], dtype=np.int64)


def _parse(text: str, where: str) -> dict:
    try:
        index = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}): make the dataset again") from error
    if not isinstance(index, dict):
        raise UserError(f"{where} must hold a JSON object with a key 'labels', not a {type(index).__name__}")
    return index


def _labels_by_name(pairs: object, where: str) -> dict[str, object]:
    if pairs is None:
        raise UserError(f"{where} has no labels: add them, or train without labels")
    if not isinstance(pairs, list):
        raise UserError(f"'labels' of {where} must be a list of [file name, label], not a {type(pairs).__name__}")
    by_name = {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise UserError(f"{where} has the label {_short(pair)}: each must be [file name, label]")
        name = pair[0].replace("\\", "/")
        if name in by_name:
            raise UserError(f"{where} labels {name} twice: keep one of them")
        by_name[name] = pair[1]
    return by_name


def _check_names_match(by_name: dict[str, object], image_names: Sequence[str], where: str) -> None:
    unlabelled = [name for name in image_names if name not in by_name]
    if unlabelled:
        raise UserError(
            f"{len(unlabelled)} of {len(image_names)} images have no label in {where}, "
            f"such as {unlabelled[0]}: label every image, or train without labels"
        )
    missing = sorted(by_name.keys() - set(image_names))
    if missing:
        raise UserError(
            f"{where} labels {len(missing)} images that are not there, such as {missing[0]}: "
            "the dataset looks incomplete; copy or make it again"
        )


def _class_names(classes: object, where: str) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
        raise UserError(f"'classes' of {where} must be a list of names, not {_short(classes)}")
    return tuple(classes)


def _class_labels(labels: list[int], class_names: tuple[str, ...] | None, where: str) -> Labels:
    count = max(labels) + 1 if class_names is None else len(class_names)
    limit = min(count, MAX_CLASSES)
    outside = [label for label in labels if not 0 <= label < limit]
    if outside:
        raise UserError(f"{where} has the label {outside[0]}: classes run from 0 to {limit - 1}; correct the file")
    return Labels(np.array(labels, dtype=np.int64), count, class_names)


def _vector_labels(labels: list, class_names: tuple[str, ...] | None, where: str) -> Labels:
    dim = len(labels[0]) if isinstance(labels[0], list) else 0
    for label in labels:
        numeric = isinstance(label, list) and all(_is_float32(value) for value in label)
        if not (numeric and 0 < len(label) == dim <= MAX_CLASSES):
            raise UserError(
                f"{where} has the label {_short(label)}: labels are all whole numbers (classes), "
                "or all lists of equally many finite numbers"
            )
    if class_names is not None and len(class_names) != dim:
        raise UserError(f"{where} names {len(class_names)} classes, but its labels have {dim} numbers: correct it")
    return Labels(np.array(labels, dtype=np.float32), dim, class_names)


def _is_float32(value: object) -> bool:
    """A number that float32 holds; JSON knows integers of any size, and NaN."""
    return type(value) in (int, float) and abs(value) <= MAX_FLOAT32


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
