"""DICOM radiographs and their annotations CSV -> a StyleGAN2-ADA dataset (SpineGAN paper, section 3).

No file vanishes: every input, that is every file found and every annotated id without a file, is converted or
stands in the rejects CSV with its reason. Nothing from a header and no id gets into the dataset; of the studies only
which images share one, as numbers in the order of the images.
"""

import collections
import csv
import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.files import write_text

from .process_pool import Crashed, available_cores, map_in_order
from .radiograph_files import find_radiographs, image_id
from .square import RESAMPLERS, Rejected, SquareRecipe, read_squares
from .vindr import LABEL_SETS, Annotations, LabelSet, read_annotations

Progress = Callable[[int, int], None]

FILES_WORTH_A_PROCESS = 64  # starting one takes seconds


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row of the rejects CSV: `file` is relative to the source, or an annotated id that has no file."""

    file: str
    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """What became of every input: `inputs == converted + len(rejects)`."""

    dest: Path
    rejects_path: Path
    only_folder: str | None
    inputs: int
    class_counts: dict[str, int]
    rejects: tuple[Reject, ...]
    repeated_rows: int

    @property
    def converted(self) -> int:
        return sum(self.class_counts.values())

    @property
    def reason_counts(self) -> dict[str, int]:
        return dict(collections.Counter(reject.reason for reject in self.rejects).most_common())

    def lines(self) -> Iterator[str]:
        """The report as text: totals, counts per class, counts per reason."""
        if self.only_folder:
            yield f"the source is in the VinDr layout: only the files in {self.only_folder}/ are used"
        yield f"{self.inputs} inputs = {self.converted} converted + {len(self.rejects)} rejected"
        for name, count in self.class_counts.items():
            yield f"  class {name}: {count}"
        for reason, count in self.reason_counts.items():
            yield f"  rejected, {reason}: {count}"
        if self.repeated_rows:
            yield f"{self.repeated_rows} rows of the annotations repeat an earlier row; they change no label"
        yield f"dataset: {self.dest}"
        yield f"rejects: {self.rejects_path}"


def convert(
    source: str | os.PathLike,
    annotations: str | os.PathLike,
    dest: str | os.PathLike,
    labels: str = "binary",
    resolution: int = 256,
    resample: str = "nearest",
    *,
    min_side_px: int = 128,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notice: str | None = None,
) -> ConversionReport:
    """Converts a folder or zip of DICOM files; the result does not depend on the number of workers.

    Args:
        source: folder or zip; of the VinDr layout, `<annotations stem>_images/` is used.
        annotations: CSV in the VinDr-SpineXR format.
        dest: the dataset: a path that ends in `.zip`, otherwise a folder. `<dest stem>-rejects.csv` goes beside it.
        labels: "binary" (abnormal unless `No finding`) or "lesion" (eight classes; images with several lesion types
            are rejected).
        resolution: side of the images in pixels, a power of two, 4 or more.
        resample: a key of `square.RESAMPLERS`; the paper's is "nearest".
        min_side_px: images whose smaller side is shorter are rejected.
        workers: processes; None takes the cores there are, fewer for few files; 1 works in this process.
        overwrite: replace an existing dataset.
        progress: called with (files looked at, files to look at).
        notice: what whoever opens the dataset should know, e.g. that it is not clinical; stands in `dataset.json`.
    Raises:
        UserError: impossible options or annotations, nothing to convert. No dataset is left behind.
    """
    source, annotations, dest = Path(source), Path(annotations), Path(dest)
    rejects_path = dest.with_name(f"{dest.stem}-rejects.csv")
    _check_options(labels, resolution, resample, min_side_px, workers)
    _check_paths(source, annotations, dest, rejects_path)
    label_set = LABEL_SETS[labels]
    recipe = SquareRecipe(resolution, resample, min_side_px)
    preparation = {"tool": "dataset_tool_dicom.py", "label_set": labels, **dataclasses.asdict(recipe)}
    metadata = {"preparation": preparation} | ({} if notice is None else {"notice": notice})
    writer = DatasetWriter(dest, label_set.classes, metadata, overwrite=overwrite)
    notes = read_annotations(annotations)
    names, only_folder = find_radiographs(source, annotations.name)
    labelled, rejects, without_file = _assign_labels(names, notes, label_set)
    inputs = len(names) + without_file
    studies = notes.study_numbers([image_id(name, notes.lesion_types) for name in labelled])
    groups = {} if studies is None else dict(zip(labelled, studies, strict=True))
    class_counts = dict.fromkeys(label_set.classes, 0)
    with writer:
        for name, square in _read_all(source, list(labelled), recipe, workers, progress):
            if isinstance(square, Rejected):
                rejects.append(Reject(name, square.reason, square.detail))
            else:
                writer.add(square, labelled[name], groups.get(name))
                class_counts[label_set.classes[labelled[name]]] += 1
        rejects.sort(key=lambda reject: reject.file)
        report = ConversionReport(
            dest, rejects_path, only_folder, inputs, class_counts, tuple(rejects), notes.repeated_rows
        )
        _check_and_write_rejects(report)
    return report


def _check_options(labels: str, resolution: int, resample: str, min_side_px: int, workers: int | None) -> None:
    if labels not in LABEL_SETS:
        raise UserError(f"unknown labels {labels!r}: use {' or '.join(LABEL_SETS)}")
    if resample not in RESAMPLERS:
        raise UserError(f"unknown resample {resample!r}: use one of {', '.join(RESAMPLERS)}")
    if resolution < 4 or resolution & (resolution - 1):
        raise UserError(f"resolution {resolution} is no power of two, 4 or more: use 64, 128, 256 or 512")
    if min_side_px < 1:
        raise UserError(f"min side {min_side_px} px must be 1 or more")
    if workers is not None and workers < 1:
        raise UserError(f"{workers} workers cannot work: give 1 or more")


def _check_paths(source: Path, annotations: Path, dest: Path, rejects_path: Path) -> None:
    inputs = {source.resolve(), annotations.resolve()}
    for output in (dest, rejects_path):
        if output.resolve() in inputs:
            raise UserError(f"{output} would be written over an input of that name: choose another destination")


def _assign_labels(
    names: list[str], notes: Annotations, label_set: LabelSet
) -> tuple[dict[str, int], list[Reject], int]:
    """Settles what needs no look at a pixel: file -> label, the rejects, and how many annotated ids lack a file."""
    ids = {name: image_id(name, notes.lesion_types) for name in names}
    occurrences = collections.Counter(ids.values())
    labelled: dict[str, int] = {}
    rejects: list[Reject] = []
    for name, one_id in ids.items():
        if one_id not in notes.lesion_types:
            rejects.append(Reject(name, "no row in the annotations"))
        elif occurrences[one_id] > 1:
            rejects.append(Reject(name, "ambiguous image id", f"{occurrences[one_id]} files are called {one_id}"))
        elif (label := label_set.label_of(notes, one_id)) is None:
            rejects.append(Reject(name, "several lesion types", ", ".join(notes.lesion_types[one_id])))
        else:
            labelled[name] = label
    without_file = [one_id for one_id in notes.lesion_types if one_id not in occurrences]
    rejects += [Reject(one_id, "annotated but no such file") for one_id in without_file]
    return labelled, rejects, len(without_file)


def _read_all(
    source: Path, names: list[str], recipe: SquareRecipe, workers: int | None, progress: Progress | None
) -> Iterator[tuple[str, np.ndarray | Rejected]]:
    if workers is None:
        workers = max(1, min(available_cores(), len(names) // FILES_WORTH_A_PROCESS))
    read = functools.partial(read_squares, source=source, recipe=recipe)
    for done, (name, square) in enumerate(zip(names, map_in_order(read, names, workers), strict=True), start=1):
        crashed = isinstance(square, Crashed)
        yield name, Rejected("decoding failed", "the decoder took its process down") if crashed else square
        if progress:
            progress(done, len(names))


def _check_and_write_rejects(report: ConversionReport) -> None:
    """The last step before the dataset appears: it does not, unless every input is accounted for."""
    if report.inputs != report.converted + len(report.rejects):
        raise RuntimeError(f"{report.inputs} inputs, but {report.converted} + {len(report.rejects)} accounted for")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "reason", "detail"])
    table.writerows(dataclasses.astuple(reject) for reject in report.rejects)
    try:
        write_text(report.rejects_path, text.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {report.rejects_path}: {error.strerror}; choose another --dest") from error
    if not report.converted:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in report.reason_counts.items())
        raise UserError(
            f"none of {report.inputs} inputs could be converted ({reasons}): see {report.rejects_path} and check "
            "--source and --annotations"
        )
