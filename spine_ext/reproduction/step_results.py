"""What each kind of step of reproduce.py leaves, typed, and how it is read from its JSON."""

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path

from .records import BrokenRecord, Record
from .steps import STEPS_FOLDER, WORK_FOLDER

SEC_PER_KIMG = "Timing/sec_per_kimg"


@dataclasses.dataclass(frozen=True)
class Split:
    images: int
    by_class: tuple[float, ...]
    studies: int | None


@dataclasses.dataclass(frozen=True)
class DataCard:
    class_names: tuple[str, ...]
    train: Split
    test: Split


@dataclasses.dataclass(frozen=True)
class Data:
    name: str
    notice: str | None
    resolution_px: int
    binary: DataCard
    lesions: DataCard | None


@dataclasses.dataclass(frozen=True)
class Gan:
    """A training run; `stats` are its statistics per tick, with "kimg"."""

    variant: str
    seed: int
    kimg: float
    gamma_clinical: float
    stats: tuple[dict[str, float], ...]
    config: dict

    @property
    def sec_per_kimg(self) -> float | None:
        """Of the middle one of the ticks, which a pause or a busy machine for a while does not move."""
        ticks = [line[SEC_PER_KIMG] for line in self.stats if SEC_PER_KIMG in line]
        return statistics.median(ticks) if ticks else None


@dataclasses.dataclass(frozen=True)
class ImageMetrics:
    """One measurement; None: not measured. kimg is None for real images."""

    kimg: float | None
    fid: float | None
    precision: float | None
    recall: float | None
    kid: float | None
    density: float | None
    coverage: float | None


@dataclasses.dataclass(frozen=True)
class MetricSeries:
    """The measurements of a run, by rising kimg."""

    variant: str
    seed: int | None
    detector: str
    detector_sha256: str
    detector_note: str
    num_real: int
    num_fake: int
    series: tuple[ImageMetrics, ...]


@dataclasses.dataclass(frozen=True)
class Auc:
    """The test AUC of one classifier.

    Attributes:
        order: "pretrain": synthetic images first, then real ones; "steps": real images alone, for as many steps as with
            the most synthetic ones; any other: one training on all images.
        predictions: the file, None where it is gone.
    """

    row: str
    variant: str | None
    synthetic: int
    real: int
    order: str
    seed: int
    auc: float
    predictions: Path | None
    fpr: tuple[float, ...]
    tpr: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What a classifier of lesions saw in generated images (row: class asked for) and in real test images."""

    seed: int
    class_names: tuple[str, ...]
    asked_seen: tuple[tuple[int, ...], ...]
    test_confusion: tuple[tuple[int, ...], ...]
    per_class_auc: tuple[float, ...]
    macro_auc: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class Samples:
    variant: str
    figure: Path | None


@dataclasses.dataclass(frozen=True)
class Timing:
    """is_resumed: stopped and gone on with; the seconds are those of the last attempt."""

    step: str
    kind: str
    seconds: float
    is_resumed: bool = False


@dataclasses.dataclass(frozen=True)
class StepFiles:
    """Where the files that a step's result names may lie: kept beside the result, or where the step has worked."""

    folder: Path
    step: str

    def find(self, name: str) -> Path | None:
        """The file, None where it is gone. A name that leads out of the folder is broken."""
        in_work = self.find_work(name)
        kept = self.kept(name)
        return kept if kept.is_file() else in_work

    def kept(self, name: str) -> Path:
        return self.folder / STEPS_FOLDER / self.step / Path(name).name

    def find_work(self, name: str) -> Path | None:
        root = self.folder.resolve()
        for path in (root / name, root / WORK_FOLDER / self.step / name):
            if not path.resolve().is_relative_to(root):
                raise BrokenRecord(f"{self.step}.json names the file {name!r}, which is outside {self.folder.name}")
            if path.is_file():
                return path
        return None


def _split(record: Record) -> Split:
    return Split(record.whole("images"), record.numbers("by_class"), record.whole_or_none("studies"))


def _card(record: Record) -> DataCard:
    card = DataCard(record.texts("class_names"), _split(record.record("train")), _split(record.record("test")))
    if not len(card.class_names) == len(card.train.by_class) == len(card.test.by_class):
        raise BrokenRecord(f"{record.place} has {len(card.class_names)} classes and counts of other lengths")
    return card


def _data(record: Record, files: StepFiles) -> Data:
    lesions = _card(record.record("lesions")) if record.has("lesions") else None
    notice = record.text("notice") if record.has("notice") else None
    return Data(record.text("name"), notice, record.whole("resolution_px"), _card(record), lesions)


def _gan(record: Record, files: StepFiles) -> Gan:
    stats = [
        {name: line.number(name) for name in line.values if line.has(name)}
        for line in (record.records("stats") if record.has("stats") else [])
    ]
    return Gan(
        record.text("variant"), record.whole("seed"), record.number("kimg"), record.number("gamma_clinical"),
        tuple(line for line in stats if "kimg" in line), record.record("config").values if record.has("config") else {},
    )  # fmt: skip


def _metrics(record: Record, files: StepFiles) -> MetricSeries:
    names = [field.name for field in dataclasses.fields(ImageMetrics)]
    series = [ImageMetrics(**{name: line.number_or_none(name) for name in names}) for line in record.records("series")]
    detector = record.record("detector")
    texts = [detector.text(name) if detector.has(name) else "" for name in ("sha256", "note")]
    return MetricSeries(
        record.text("variant") if record.has("variant") else "real", record.whole_or_none("seed"),
        detector.text("name"), *texts, record.whole("num_real"), record.whole("num_fake"),
        tuple(sorted(series, key=lambda each: each.kimg or 0.0)),
    )  # fmt: skip


def _auc(record: Record, files: StepFiles) -> Auc:
    curve = record.record("roc") if record.has("roc") else Record({"fpr": [], "tpr": []}, record.place)
    found = Auc(
        record.text("row"), record.text("variant") if record.has("variant") else None, record.whole("synthetic"),
        record.whole("real"), record.text("order"), record.whole("seed"), record.number("auc"),
        files.find(record.text("predictions")) if record.has("predictions") else None,
        curve.numbers("fpr"), curve.numbers("tpr"),
    )  # fmt: skip
    if not 0 <= found.auc <= 1 or len(found.fpr) != len(found.tpr):
        raise BrokenRecord(f"{record.place} has an AUC of {found.auc}, or a ROC curve of unequal columns")
    return found


def _agreement(record: Record, files: StepFiles) -> Agreement:
    names, judge = record.texts("class_names"), record.record("classifier")
    return Agreement(
        record.whole("seed"), names, record.counts("asked_seen", len(names)),
        judge.counts("test_confusion", len(names)),
        judge.numbers("per_class_auc") if judge.has("per_class_auc") else (), judge.number("macro_auc"),
        judge.number_or_none("low"), judge.number_or_none("high"),
    )  # fmt: skip


def _samples(record: Record, files: StepFiles) -> Samples:
    variant = record.text("variant") if record.has("variant") else files.step.removeprefix("samples-")
    return Samples(variant, files.find(record.text("figure")))


READERS: dict[str, Callable[[Record, StepFiles], object]] = {
    "data": _data,
    "gan": _gan,
    "metrics": _metrics,
    "auc": _auc,
    "agreement": _agreement,
    "samples": _samples,
}
