"""From the predictions of every classifier to the estimates that Table 1, its figures and the reading share."""

import collections
import dataclasses
from pathlib import Path

import numpy as np

from stylegan2ada.errors import UserError

from ..downstream.predictions import Predictions, read_predictions
from ..statistics.grouped_bootstrap import Resamples, draw_resamples
from ..statistics.seeded_auc import Estimate, SeededAuc, difference, estimate, seeded_auc
from .paper_numbers import STATE_OF_THE_ART, TABLE_1, TITLES, TRUE, PaperAuc
from .records import BrokenRecord
from .results import Results, order_of
from .step_results import Auc

SEED = 0  # of the resamples


@dataclasses.dataclass(frozen=True)
class AucRow:
    """A row of Table 1, or one beyond it (paper: None).

    runs: by seed; none where the row has not run. estimate, against_true (the difference to true images alone) and
    seeded are None where there are no predictions.
    """

    paper: PaperAuc | None
    title: str
    variant: str | None
    synthetic: int
    real: bool
    order: str
    runs: tuple[Auc, ...]
    seeded: SeededAuc | None = None
    estimate: Estimate | None = None
    against_true: Estimate | None = None

    @property
    def mean(self) -> float | None:
        return float(np.mean([run.auc for run in self.runs])) if self.runs else None

    @property
    def sd(self) -> float | None:
        """Standard deviation between seeds."""
        return float(np.std([run.auc for run in self.runs], ddof=1)) if len(self.runs) > 1 else None


@dataclasses.dataclass(frozen=True)
class AucRows:
    """All rows but the state of the art's.

    Attributes:
        true: real images alone.
        longer: the same for as many steps as with the most synthetic images: what more training alone does.
        synthetic: the paper's rows in its order, then those beyond it.
        has_groups: whether the predictions say which images are of one study; None without predictions.
    """

    true: AucRow
    longer: AucRow
    synthetic: tuple[AucRow, ...]
    has_groups: bool | None
    problems: tuple[str, ...]

    @property
    def all(self) -> tuple[AucRow, ...]:
        return (self.true, self.longer, *self.synthetic)

    def joined(self, variant: str) -> list[AucRow]:
        """Real and synthetic images of a GAN together, by rising number of synthetic ones."""
        found = [row for row in self.synthetic if (row.variant, row.real, row.order) == (variant, True, "joined")]
        return sorted(found, key=lambda row: row.synthetic)

    def only(self, variant: str) -> AucRow | None:
        """Synthetic images alone: the row with the most of them."""
        found = [row for row in self.synthetic if row.variant == variant and not row.real]
        return max(found, key=lambda row: row.synthetic, default=None)


def auc_rows(results: Results) -> AucRows:
    """The rows with their estimates; all on the same resamples of the test images."""
    predictions, problems = _read_all(results)
    first = next(iter(predictions.values()), None)
    test = None if first is None else draw_resamples(first.classes, first.groups, SEED)
    true, *rows = [_with_estimate(row, predictions, test) for row in _rows(results)]
    rows = [
        dataclasses.replace(row, against_true=estimate(delta)) if (delta := paired(row, true)) else row for row in rows
    ]
    return AucRows(true, rows[0], tuple(rows[1:]), None if first is None else first.groups is not None, tuple(problems))


def paired(a: AucRow, b: AucRow) -> SeededAuc | None:
    """The difference of two rows by seed; None where one of them has no predictions or they share no seed."""
    return None if a.seeded is None or b.seeded is None else difference(a.seeded, b.seeded)


def _rows(results: Results) -> list[AucRow]:
    """True images, the same for longer, then the paper's rows, then whatever else has run."""
    most = max(results.counts.values())
    title = f"True, about as many steps as with {most:,} more"
    longer = AucRow(None, title, None, 0, True, "steps", tuple(results.aucs_of(None, 0, True, "steps")))
    rows = []
    for paper in (TRUE, *(row for row in TABLE_1 if row not in (STATE_OF_THE_ART, TRUE))):
        count = results.counts.get(paper.synthetic, paper.synthetic)
        runs = results.aucs_of(paper.variant, count, paper.real)
        rows.append(AucRow(paper, paper.title, paper.variant, count, paper.real, "joined", tuple(runs)))
    rows.insert(1, longer)
    known = {run for row in rows for run in row.runs}
    rest = [run for run in results.aucs if run not in known]
    keys = sorted({(run.variant or "", run.synthetic, run.real > 0, order_of(run)) for run in rest})
    for variant, count, real, order in keys:
        runs = results.aucs_of(variant or None, count, real, order)
        title = TITLES.get(variant, variant)
        title = f"{title} first, then true" if order == "pretrain" else f"True + {title}" if real else f"Only {title}"
        rows.append(AucRow(None, title, variant or None, count, real, order, tuple(runs)))
    return rows


def _read_all(results: Results) -> tuple[dict[Path, Predictions], list[str]]:
    """Predictions by path. Those of other test images than most are a problem: rows could not be compared."""
    found, problems = {}, []
    for run in results.aucs:
        if run.predictions is None:
            problems.append(f"the predictions of {run.row}, seed {run.seed}, are gone: its row has no interval")
            continue
        try:
            found[run.predictions] = _read(run.predictions)
        except BrokenRecord as problem:
            problems.append(str(problem))
    tests = collections.Counter(each.classes.tobytes() for each in found.values())
    for path, each in list(found.items()):
        if each.classes.tobytes() != tests.most_common(1)[0][0]:
            problems.append(f"{_short(path)} is of other test images than the rest: left out")
            del found[path]
    return found, problems


def _with_estimate(row: AucRow, predictions: dict[Path, Predictions], test: Resamples | None) -> AucRow:
    by_seed = {run.seed: predictions[run.predictions] for run in row.runs if run.predictions in predictions}
    if test is None or not by_seed:
        return row
    seeded = seeded_auc(test, {seed: each.probabilities for seed, each in by_seed.items()})
    return dataclasses.replace(row, seeded=seeded, estimate=estimate(seeded))


def _read(path: Path) -> Predictions:
    """Those of two classes. Raises `BrokenRecord` for anything else."""
    try:
        predictions = read_predictions(path)
    except UserError as error:
        raise BrokenRecord(f"{_short(path)} holds no predictions: {error.__cause__}") from error
    if len(predictions.class_names) != 2:
        raise BrokenRecord(f"{_short(path)} is of the classes {', '.join(predictions.class_names)}: two were expected")
    return predictions


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
