"""The results of the steps, read from OUT/steps and checked: by kind, variant and seed.

A file that is broken is left out and named in one line of `Results.problems`; the rest is used.
"""

import dataclasses
from pathlib import Path

from .paper_numbers import ABLATION_KIMG
from .records import BrokenRecord, Record, is_number, read_record
from .step_results import READERS, Agreement, Auc, Data, Gan, MetricSeries, Samples, StepFiles, Timing
from .steps import STEPS_FOLDER


@dataclasses.dataclass(frozen=True)
class Results:
    """All that is there so far. `settings` and `environment` are as their files have them, {} where there is none."""

    folder: Path
    settings: dict
    environment: dict
    counts: dict[int, int]
    data: Data | None
    gans: tuple[Gan, ...]
    metrics: tuple[MetricSeries, ...]
    aucs: tuple[Auc, ...]
    agreements: tuple[Agreement, ...]
    samples: tuple[Samples, ...]
    timings: tuple[Timing, ...]
    problems: tuple[str, ...]

    @property
    def is_phantom(self) -> bool:
        """Whether the images are drawn ones; before they are known, whether they are to be."""
        if self.data is None:
            return self.settings.get("preset") == "phantom"
        return "phantom" in (self.notice or "").lower()

    @property
    def ablation_kimg(self) -> float:
        """The length of training at which weights of the clinical term are compared."""
        given = self.settings.get("ablation_kimg")
        return float(given) if is_number(given) else float(ABLATION_KIMG)

    @property
    def notice(self) -> str | None:
        """What the data set says of itself that must not be overlooked."""
        return None if self.data is None else self.data.notice

    def gans_of(self, variant: str) -> list[Gan]:
        return sorted((gan for gan in self.gans if gan.variant == variant), key=lambda gan: gan.seed)

    def metrics_of(self, variant: str) -> list[MetricSeries]:
        found = [each for each in self.metrics if each.variant == variant and each.series]
        return sorted(found, key=lambda each: each.seed or 0)

    def aucs_of(self, variant: str | None, synthetic: int, real: bool, order: str = "joined") -> list[Auc]:
        """The runs of a row of Table 1, by seed.

        synthetic: how many images here, not in the paper; order: "joined", "pretrain" or "steps".
        """
        wanted = (variant, synthetic, real, order)
        found = [auc for auc in self.aucs if (auc.variant, auc.synthetic, auc.real > 0, order_of(auc)) == wanted]
        return sorted(found, key=lambda auc: auc.seed)


def order_of(auc: Auc) -> str:
    """One of "pretrain", "steps" and "joined"."""
    return auc.order if auc.order in ("pretrain", "steps") else "joined"


def read_results(folder: Path) -> Results:
    """Reads OUT/steps/*.json, OUT/reproduction.json and OUT/environment.json; none of them has to be there."""
    problems: list[str] = []
    by_kind: dict[str, list] = {kind: [] for kind in READERS}
    timings = []
    for path in sorted((folder / STEPS_FOLDER).glob("*.json")):
        try:
            record = read_record(path)
            is_resumed = record.values.get("resumed") is True
            timing = Timing(record.text("step"), record.text("kind"), record.number("seconds"), is_resumed)
            if timing.step != path.stem:
                raise BrokenRecord(f"{path.name} is of the step {timing.step!r}: a copy under another name")
            if reader := READERS.get(timing.kind):
                by_kind[timing.kind].append(reader(record.record("result"), StepFiles(folder, timing.step)))
        except BrokenRecord as problem:
            problems.append(str(problem))
        else:
            timings.append(timing)
    settings, environment = (
        _read_optional(folder / name, problems) for name in ("reproduction.json", "environment.json")
    )
    return Results(
        folder=folder,
        settings=settings,
        environment=environment,
        counts=_counts(settings, problems),
        data=by_kind["data"][0] if by_kind["data"] else None,
        gans=tuple(by_kind["gan"]),
        metrics=tuple(by_kind["metrics"]),
        aucs=tuple(by_kind["auc"]),
        agreements=tuple(by_kind["agreement"]),
        samples=tuple(by_kind["samples"]),
        timings=tuple(timings),
        problems=tuple(problems),
    )


def _read_optional(path: Path, problems: list[str]) -> dict:
    if not path.exists():
        return {}
    try:
        return read_record(path).values
    except BrokenRecord as problem:
        problems.append(str(problem))
        return {}


def _counts(settings: dict, problems: list[str]) -> dict[int, int]:
    """The paper's number of synthetic images -> the number here; the paper's own where nothing is said."""
    counts = {500: 500, 1600: 1600, 10_000: 10_000}
    if "counts" not in settings:
        return counts
    try:
        given = Record(settings["counts"], "reproduction.json.counts")
        return counts | {int(name): given.whole(name) for name in given.values}
    except ValueError as problem:
        problems.append(str(problem))
        return counts
