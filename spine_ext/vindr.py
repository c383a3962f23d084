"""The annotations CSV of VinDr-SpineXR 1.0.0 (Nguyen et al. 2021) -> labels of the SpineGAN paper.

One row per box, several rows per image; an image without findings has one row, `No finding`, with empty
boxes.
"""

import csv
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stylegan2ada.errors import UserError

NO_FINDING = "No finding"

# Label order of the paper's multi-conditional model; the spelling is the data set's own.
LESION_CLASSES = (
    NO_FINDING,
    "Disc space narrowing",
    "Foraminal stenosis",
    "Osteophytes",
    "Spondylolysthesis",
    "Surgical implant",
    "Vertebral collapse",
    "Other lesions",
)
BINARY_CLASSES = ("normal", "abnormal")

_OTHER_SPELLINGS = {"Spondylolisthesis": "Spondylolysthesis"}
_REQUIRED_COLUMNS = ("image_id", "lesion_type")


@dataclasses.dataclass(frozen=True)
class Annotations:
    """What the CSV says of each image.

    Attributes:
        lesion_types: image id -> its distinct lesion types in label order; an empty tuple means `No finding`.
        repeated_rows: how many rows repeat an earlier one in every column; they change no label.
        studies: image id -> study id; empty where the CSV has no such column.
    """

    lesion_types: dict[str, tuple[str, ...]]
    repeated_rows: int = 0
    studies: dict[str, str] = dataclasses.field(default_factory=dict)

    def study_numbers(self, image_ids: Sequence[str]) -> list[int] | None:
        """A number from 0 for each image, equal within a study; None where the CSV knows no studies.

        Studies are numbered as they come, so the numbers tell nothing but which images share one. An image with an
        empty study id is a study of its own.
        """
        if not any(self.studies.get(image_id) for image_id in image_ids):
            return None
        numbers: dict[tuple[str, str], int] = {}
        keys = [(self.studies[one], "") if self.studies[one] else ("", one) for one in image_ids]
        return [numbers.setdefault(key, len(numbers)) for key in keys]

    def binary_label(self, image_id: str) -> int:
        """Index into `BINARY_CLASSES`: abnormal unless `No finding`."""
        return int(bool(self.lesion_types[image_id]))

    def lesion_label(self, image_id: str) -> int | None:
        """Index into `LESION_CLASSES`, or None for an image with several lesion types, which has no one class."""
        types = self.lesion_types[image_id] or (NO_FINDING,)
        return LESION_CLASSES.index(types[0]) if len(types) == 1 else None


@dataclasses.dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset and the rule for an image; the rule gives None for an image of no one class."""

    classes: tuple[str, ...]
    label_of: Callable[[Annotations, str], int | None]


LABEL_SETS = {
    "binary": LabelSet(BINARY_CLASSES, Annotations.binary_label),
    "lesion": LabelSet(LESION_CLASSES, Annotations.lesion_label),
}


def read_annotations(path: str | os.PathLike) -> Annotations:
    """Reads and checks `annotations/train.csv` or `test.csv`; only `image_id` and `lesion_type` are required.

    Raises:
        UserError: naming file, line, value and remedy: not a CSV, missing columns, an unknown lesion type, an
            image that is both normal and abnormal or belongs to two studies.
    """
    path = Path(path)
    first_line: dict[str, int] = {}
    studies: dict[str, str] = {}
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    for line, row in _rows(path):
        place = f"{path}, line {line}"
        image_id, lesion_type = _image_id(row, place), _lesion_type(row, place)
        earlier = first_line.setdefault(image_id, line)
        study = row.get("study_id", "")
        if studies.setdefault(image_id, study) != study:
            raise UserError(
                f"{place}: image {image_id} is in another study than on line {earlier}; an image id names one image"
            )
        types = found.setdefault(image_id, set())
        types.add(lesion_type)
        if NO_FINDING in types and len(types) > 1:
            raise UserError(
                f"{place}: image {image_id} has {lesion_type!r}, which contradicts line {earlier}: "
                f"an image has either {NO_FINDING!r} or lesions; correct the rows"
            )
        key = tuple(row.values())
        repeated += key in seen
        seen.add(key)
    if not found:
        raise UserError(f"{path} holds no rows below its header: give the annotations of the images")
    lesion_types = {image_id: _in_label_order(types) for image_id, types in found.items()}
    return Annotations(lesion_types, repeated, studies)


def _in_label_order(types: set[str]) -> tuple[str, ...]:
    return tuple(sorted(types - {NO_FINDING}, key=LESION_CLASSES.index))


def _image_id(row: dict[str, str], place: str) -> str:
    if not row["image_id"]:
        raise UserError(f"{place}: image_id is empty; give the file name without its suffix")
    return row["image_id"]


def _lesion_type(row: dict[str, str], place: str) -> str:
    lesion_type = _OTHER_SPELLINGS.get(row["lesion_type"], row["lesion_type"])
    if lesion_type not in LESION_CLASSES:
        known = ", ".join(LESION_CLASSES)
        raise UserError(f"{place}: unknown lesion_type {row['lesion_type']!r}; use one of: {known}")
    return lesion_type


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> value) of each row that is not empty, surrounding spaces removed."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            _check_header(header, path)
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                if len(values) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(values)} values for {len(header)} columns; "
                        "correct the row, with quotes around values that hold a comma"
                    )
                stripped = (value.strip() for value in values)
                yield reader.line_num, dict(zip(header, stripped, strict=True))
    except OSError as error:
        raise UserError(f"cannot read the annotations {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save the annotations as a UTF-8 CSV file") from error
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}; give the annotations CSV") from error


def _check_header(header: list[str], path: Path) -> None:
    if missing := [name for name in _REQUIRED_COLUMNS if name not in header]:
        raise UserError(
            f"{path} lacks the column {' and '.join(missing)}; its header is {', '.join(header)[:200] or 'empty'}, "
            f"and a VinDr-SpineXR annotations file has {' and '.join(_REQUIRED_COLUMNS)}"
        )
    if len(set(header)) != len(header):
        raise UserError(f"{path} has two columns of one name: {', '.join(header)[:200]}; rename or remove one")
