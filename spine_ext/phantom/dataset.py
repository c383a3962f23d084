"""A whole phantom data set in the layout of VinDr-SpineXR.

    DEST/train_images/<image_id>.dicom   DEST/annotations/train.csv
    DEST/test_images/<image_id>.dicom    DEST/annotations/test.csv   DEST/phantom.json

Every study, and every image within it, has its own random stream derived from the seed; so the files do not
depend on how many processes made them.
"""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegan2ada.errors import UserError

from ..process_pool import Crashed, available_cores, map_in_order
from .dicom_files import FLAWS, NOTICE, dicom_bytes, draw_encoding, unique_id
from .lesions import NO_FINDING
from .phantom import VIEWS, draw_patient, draw_phantom

CSV_COLUMNS = ("study_id", "series_id", "image_id", "rad_id", "lesion_type", "xmin", "ymin", "xmax", "ymax")
FLAWED_SHARE = 0.02

_SPLITS = ("train", "test")
PHANTOM_VERSION = 1  # part of the marker: raise it when the same seed gives other files
_READER = "phantom"

Progress = Callable[[int, int], None]


def make_phantom_dataset(
    dest: str | os.PathLike,
    *,
    train: int = 1500,
    test: int = 500,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes `train` + `test` phantom radiographs with both annotation files, and returns the folder.

    The folder appears under its name only when it is complete; one that is already there and was made with the
    same numbers is left as it is.

    workers: number of processes, None for one per CPU this process may use. With more than one, a script must
        call this under `if __name__ == "__main__":`.
    progress: called with (images done, images in all).

    Raises `UserError` for impossible numbers, or when `dest` holds something else.
    """
    dest = Path(dest)
    _check_numbers(train, test, seed, workers)
    made_with = {"notice": NOTICE, "version": PHANTOM_VERSION, "train": train, "test": test, "seed": seed}
    if _is_complete(dest, made_with):
        return dest
    dest.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=".tmp", dir=dest.parent))
    try:
        unfinished.chmod(0o755)
        counts = dict(zip(_SPLITS, (train, test), strict=True))
        _write_images(unfinished, counts, seed, workers, progress or (lambda done, total: None))
        (unfinished / "phantom.json").write_text(json.dumps(made_with, indent=2) + "\n")
        if dest.is_dir():
            dest.rmdir()  # only ever an empty one: see _is_complete
        os.replace(unfinished, dest)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return dest


def _check_numbers(train: int, test: int, seed: int, workers: int | None) -> None:
    for name, value, least in (
        ("train", train, 1),
        ("test", test, 1),
        ("seed", seed, 0),
        ("workers", workers, 1),
    ):
        if value is not None and value < least:
            raise UserError(f"phantom: {name} is {value}; it must be at least {least}")


def _is_complete(dest: Path, made_with: dict[str, object]) -> bool:
    if not dest.exists() or (dest.is_dir() and not any(dest.iterdir())):
        return False
    try:
        found = json.loads((dest / "phantom.json").read_text())
    except (OSError, ValueError):
        raise UserError(
            f"phantom: {dest} exists and is not a phantom data set; give another folder"
        ) from None
    if found != made_with:
        raise UserError(
            f"phantom: {dest} was made with other numbers ({found}); remove it or give another folder"
        )
    return True


@dataclass(frozen=True)
class _Task:
    """One study: all its images are drawn by one worker. `flaws` holds one entry per image."""

    folder: Path
    seed: int
    split: int
    study: int
    flaws: tuple[str, ...]


def _studies(folder: Path, split: int, count: int, seed: int) -> Iterator[_Task]:
    """Divides `count` images into studies of one to three, and 2% of the files among the flaws."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split,)))
    flaws = [""] * count
    for number, image in enumerate(rng.choice(count, size=round(FLAWED_SHARE * count), replace=False)):
        flaws[image] = FLAWS[number % len(FLAWS)]
    first = study = 0
    while first < count:
        size = int(rng.choice([1, 2, 3], p=[0.3, 0.55, 0.15]))
        yield _Task(folder, seed, split, study, tuple(flaws[first : first + size]))
        first, study = first + size, study + 1


def _write_images(
    folder: Path, counts: dict[str, int], seed: int, workers: int | None, progress: Progress
) -> None:
    tasks = []
    for split, name in enumerate(_SPLITS):
        (folder / f"{name}_images").mkdir()
        tasks += _studies(folder, split, counts[name], seed)
    rows: dict[str, list[tuple]] = {name: [] for name in _SPLITS}
    done, total = 0, sum(counts.values())
    results = map_in_order(_write_studies, tasks, min(workers or available_cores(), len(tasks)), chunk=4)
    for task, study_rows in zip(tasks, results, strict=True):
        if isinstance(study_rows, Crashed):
            raise RuntimeError(
                f"phantom: the process that drew study {task.study} died; is there enough memory?"
            )
        rows[_SPLITS[task.split]] += study_rows
        done += len(task.flaws)
        progress(done, total)
    (folder / "annotations").mkdir()
    for name in _SPLITS:
        with open(folder / "annotations" / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CSV_COLUMNS)
            writer.writerows(rows[name])


def _write_studies(tasks: Sequence[_Task]) -> list[list[tuple]]:
    return [_write_study(task) for task in tasks]


def _write_study(task: _Task) -> list[tuple]:
    """Draws one patient and writes the images of the study; returns their rows of the CSV."""
    source = (task.seed, _SPLITS[task.split], task.study)
    streams = np.random.SeedSequence(task.seed, spawn_key=(task.split, task.study)).spawn(1 + len(task.flaws))
    study_rng, *image_rngs = (np.random.default_rng(stream) for stream in streams)
    patient = draw_patient(study_rng)
    first_view = int(study_rng.integers(2))
    rows = []
    for number, (flaw, rng) in enumerate(zip(task.flaws, image_rngs, strict=True)):
        view = VIEWS[(first_view + number) % 2]
        encoding = draw_encoding(rng, flaw)
        phantom = draw_phantom(patient, view, rng, _draw_size_px(rng, flaw == "too small"))
        ids = (
            unique_id("study", *source),
            unique_id("series", *source, number),
            unique_id("image", *source, number),
        )
        data = dicom_bytes(phantom.pixels, view, encoding, ids, phantom.px_per_mm)
        (task.folder / f"{_SPLITS[task.split]}_images" / f"{ids[2].hex}.dicom").write_bytes(data)
        names = (*(identifier.hex for identifier in ids), _READER)
        boxes = [(finding.type, *(f"{edge:.1f}" for edge in finding.box)) for finding in phantom.findings]
        rows += [names + box for box in boxes or [(NO_FINDING, "", "", "", "")]]
    return rows


def _draw_size_px(rng: np.random.Generator, too_small: bool) -> tuple[int, int]:
    """Width and height: the smaller side 300 to 900 pixels, small ones more often; upright or square."""
    smaller = rng.integers(64, 128) if too_small else round(300 * 3.0 ** (rng.random() ** 2))
    return int(smaller), round(smaller * rng.uniform(1.0, 1.3))
