"""What a classifier says of each test image, and the CSV file of it."""

import csv
import dataclasses
import io
import math
from pathlib import Path

import numpy as np

from stylegan2ada.errors import UserError
from stylegan2ada.files import write_text

from ..labelled_images import LabelledImages, classes_of, names_of_classes

_PROBABILITY = "probability of "


@dataclasses.dataclass(frozen=True)
class Predictions:
    """N images, K classes. classes: int (N,); groups: int (N,), None where unknown; probabilities: float64 (N,K)."""

    image_names: tuple[str, ...]
    class_names: tuple[str, ...]
    classes: np.ndarray
    groups: np.ndarray | None
    probabilities: np.ndarray

    @classmethod
    def of(cls, images: LabelledImages, probabilities: np.ndarray) -> "Predictions":
        return cls(images.image_names, names_of_classes(images), classes_of(images), images.groups, probabilities)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """One row per image: its name, class, group where known, and the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    group_column = [] if predictions.groups is None else ["group"]
    writer.writerow(["image", "class", *group_column, *(_PROBABILITY + name for name in predictions.class_names)])
    for index, name in enumerate(predictions.image_names):
        group = [] if predictions.groups is None else [predictions.groups[index]]
        of_classes = [f"{probability:.9g}" for probability in predictions.probabilities[index]]
        writer.writerow([name, predictions.class_names[predictions.classes[index]], *group, *of_classes])
    write_text(path, text.getvalue())


def read_predictions(path: Path) -> Predictions:
    """What `write_predictions` wrote. Raises `UserError` for any other file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        start = header.index("group") + 1 if header[2] == "group" else 2
        class_names = tuple(name.removeprefix(_PROBABILITY) for name in header[start:])
        if header[:2] != ["image", "class"] or not all(name.startswith(_PROBABILITY) for name in header[start:]):
            raise ValueError(f"its header is {', '.join(header)[:200]}")
        if not rows or any(len(row) != len(header) for row in rows):
            raise ValueError("it has no rows, or rows of other lengths")
        probabilities = np.array([[float(value) for value in row[start:]] for row in rows])
        if not math.isfinite(probabilities.sum()):
            raise ValueError("a probability is not finite")
        classes = np.array([class_names.index(row[1]) for row in rows])
        groups = np.array([int(row[2]) for row in rows]) if start == 3 else None
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as predictions of classify.py: {error}") from error
    return Predictions(tuple(row[0] for row in rows), class_names, classes, groups, probabilities)
