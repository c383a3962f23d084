"""The tables of the reproduction: the paper's values beside ours."""

from collections.abc import Iterable

import numpy as np
from scipy.stats import binomtest

from ..statistics.seeded_auc import Estimate
from .auc_rows import AucRow, AucRows
from .gan_quality import at_end, at_kimg, is_mark_for, spread
from .paper_numbers import (
    ABLATION_KIMG,
    PAPER_REAL_IMAGES,
    SPINEGAN,
    STATE_OF_THE_ART,
    STRONG_TERM,
    STYLEGAN2_ADA,
    TABLE_2,
    TITLES,
    PaperImageMetrics,
)
from .results import Results
from .step_results import Agreement, ImageMetrics
from .table import NOT_PUBLISHED, NOT_RUN, Cell, Column, Table

INTERVAL, RANGE = ("low", "high"), ("smallest", "largest")
METRICS = ("fid", "precision", "recall", "kid", "density", "coverage")


def all_tables(results: Results, rows: AucRows) -> list[Table]:
    return [
        auc_table(results, rows), image_metrics_table(results), ablation_table(results), agreement_table(results),
        private_table(), timing_table(results),
    ]  # fmt: skip


def auc_table(results: Results, rows: AucRows) -> Table:
    """Table 1, with the rows that the paper does not have at its end."""
    columns = (
        Column("Training images"),
        Column("Synthetic, paper", 0),
        Column("Synthetic, here", 0),
        Column("AUC, paper", 3),
        Column("AUC, here (95% interval)", 3, limits=INTERVAL),
        Column("SD of seeds", 3),
        Column("Seeds", 0),
        Column("Difference to true, paper", 3, signed=True),
        Column("Difference to true, here (95% interval)", 3, signed=True, limits=INTERVAL),
    )
    state = STATE_OF_THE_ART
    first = (state.title, 0.0, NOT_PUBLISHED, state.auc, NOT_PUBLISHED, NOT_PUBLISHED, NOT_PUBLISHED,
             state.auc - rows.true.paper.auc, NOT_PUBLISHED)  # fmt: skip
    lines = [first, *(_auc_line(row, rows.true) for row in rows.all)]
    notes = [
        "Half of each synthetic set is abnormal. Intervals: variance between seeds and of a bootstrap of test "
        + ("studies." if rows.has_groups else "images, which count as independent.")
        + " Differences are paired: the same test resamples and the seeds both rows have.",
    ]
    if any(len(row.runs) == 1 for row in rows.all):
        notes.append("Of a row with one seed, the interval covers the test images alone, not another training.")
    notes += _ratios(results)
    if results.is_phantom:
        notes.append("Phantom images: AUCs are not comparable with the paper's in height, only differences in sign.")
    return Table("table-1-auc", "Table 1: test AUC of a classifier, by its training images", columns, tuple(lines),
                 tuple(notes))  # fmt: skip


def _ratios(results: Results) -> list[str]:
    """As a count says little without the number of real images beside it."""
    if results.data is None or all(paper == ours for paper, ours in results.counts.items()):
        return []
    real = max(results.data.binary.train.images, 1)
    shares = [
        f"{paper / PAPER_REAL_IMAGES:.2f} in the paper, {ours / real:.2f} here"
        for paper, ours in sorted(results.counts.items())
    ]
    return [f"Synthetic images for each real one: {'; '.join(shares)}."]


def image_metrics_table(results: Results) -> Table:
    """Table 2 with further metrics, and the row of real test images."""
    columns = (
        Column("Images"), Column("kimg, paper", 0), Column("kimg, here", 1), Column("FID, paper", 1),
        Column("FID, here", 2, limits=RANGE), Column("Precision, paper", 3), Column("Precision, here", 3, limits=RANGE),
        Column("Recall, paper", 4), Column("Recall, here", 4, limits=RANGE), Column("KID × 1,000", 2, limits=RANGE),
        Column("Density", 3, limits=RANGE), Column("Coverage", 3, limits=RANGE), Column("Seeds", 0),
    )  # fmt: skip
    lines = []
    for paper in TABLE_2:
        found = at_end(results.metrics_of(paper.variant))
        lines.append((paper.title, paper.kimg, _mean(each.kimg for each in found), *_metric_cells(found, paper),
                      float(len(found)) if found else None))  # fmt: skip
    real = at_end(results.metrics_of("real"))
    lines.append(("Real test images", NOT_PUBLISHED, NOT_PUBLISHED, *_metric_cells(real, None), NOT_PUBLISHED))
    return Table("table-2-image-metrics", "Table 2: generated images against the training images", columns,
                 tuple(lines), ("Mean over seeds [smallest, largest].", *detector_notes(results)))  # fmt: skip


def detector_notes(results: Results) -> list[str]:
    """Which features the metrics compare, how many images, and whether the paper's numbers can be compared."""
    notes = []
    detectors = {(each.detector, each.detector_sha256, each.detector_note): each for each in results.metrics}
    for name, sha256, note in detectors:
        line = f"Features: {name}" + (f" ({note})" if note else "") + (f", SHA-256 {sha256[:12]}" if sha256 else "")
        notes.append(line + ".")
    notes += _comparability(results)
    generated = [each for each in results.metrics if each.variant != "real"]
    sizes = sorted({(each.num_real, each.num_fake) for each in generated})
    notes += [f"{fake:,} generated against {real:,} real images." for real, fake in sizes]
    for each in results.metrics_of("real"):
        note = f"The row of real images: {each.num_fake:,} test images against {each.num_real:,} training images."
        more = " Of generated ones there are more or fewer, so it is no mark to reach: FID and recall hang on that."
        notes.append(note + ("" if is_mark_for(each, generated) else more))
    return notes


def _comparability(results: Results) -> list[str]:
    own_features = any("inception" not in each.detector.lower() for each in results.metrics)
    if not own_features and not results.is_phantom:
        return []
    what = "Inception and VGG16 features, and of other images" if own_features else "other images"
    return [
        f"The paper's FID, precision and recall are of {what}: its columns are not comparable with those here, only "
        "the order of the rows is."
    ]


def ablation_table(results: Results) -> Table:
    """The clinical term's weight at one length of training."""
    kimg = results.ablation_kimg
    columns = (
        Column("GAN"), Column("γ clinical", 2), Column("kimg, paper", 0), Column("kimg, here", 1),
        Column("FID, paper", 2),
        Column("FID, here", 2, limits=RANGE), Column("Precision, paper", 4), Column("Precision, here", 4, limits=RANGE),
        Column("Recall, paper", 7), Column("Recall, here", 4, limits=RANGE), Column("Seeds", 0),
    )  # fmt: skip
    lines = []
    for variant, gamma, paper in (
        (STYLEGAN2_ADA, 0.0, None),
        (SPINEGAN, 0.01, None),
        (STRONG_TERM.variant, 0.05, STRONG_TERM),
    ):
        found = at_kimg(results.metrics_of(variant), kimg)
        cells = _metric_cells(found, paper)[:6]
        lines.append((TITLES[variant], gamma, float(ABLATION_KIMG), _mean(each.kimg for each in found), *cells,
                      float(len(found)) if found else None))  # fmt: skip
    notes = (
        "The paper prints only the row of γ 0.05. Mean over seeds [smallest, largest].",
        *_comparability(results),
    )
    return Table(
        "ablation-gamma", "Ablation: weight of the clinical term, early in training", columns, tuple(lines), notes
    )


def agreement_table(results: Results) -> Table:
    """MultiConditional's images by the class that was asked for, as a classifier of real images sees them."""
    columns = (
        Column("Class asked for"), Column("Images", 0), Column("Seen as asked (95% interval)", 3, limits=INTERVAL),
        Column("Chance", 3), Column("All generated images seen as this class", 3),
        Column("Classifier's sensitivity on real test images (95% interval)", 3, limits=INTERVAL),
        Column("Classifier's AUC, class against rest", 3),
    )  # fmt: skip
    title = "Agreement: what a classifier sees in MultiConditional's images"
    paper = "The paper looked at these images by eye and gives no number."
    if not results.agreements:
        row = (NOT_RUN, *[None] * (len(columns) - 1))
        return Table("agreement", title, columns, (row,), (paper,))
    first = results.agreements[0]
    same = [each for each in results.agreements if each.class_names == first.class_names]
    asked = np.sum([each.asked_seen for each in same], axis=0)
    lines = [_agreement_line(first, asked, place) for place in range(len(first.class_names))]
    limits = "" if first.low is None or first.high is None else f" [{first.low:.3f}, {first.high:.3f}]"
    notes = (
        paper,
        f"The classifier is trained on real images; macro AUC on real test images {first.macro_auc:.3f}{limits}. Where "
        "its sensitivity is low, a low agreement says little of the GAN.",
        "Chance: asked and seen are unrelated, and all classes seen equally often. Intervals: Wilson, over the drawing "
        f"of images of {len(same)} trained GAN{'s' if len(same) > 1 else ''}.",
    )
    return Table("agreement", title, columns, tuple(lines), notes)


def private_table() -> Table:
    """The paper's private runs, whose variant does not exist here yet."""
    columns = (Column("Private run of the paper"), Column("Here"))
    names = ("Figure 1: ε by noise", "Figure 3: noise 0.2, batch 1", "Figure 3: noise 0.02", "Figure 3: batch 4",
             "Figure 3: no clipping")  # fmt: skip
    return Table("private", "The paper's private runs", columns, tuple((name, None) for name in names),
                 ("These cells are filled when the private variant exists.",))  # fmt: skip


def timing_table(results: Results) -> Table:
    columns = (Column("Step"), Column("Kind"), Column("Minutes", 1))
    lines: list[tuple[Cell, ...]] = [
        (each.step + (" *" if each.is_resumed else ""), each.kind, each.seconds / 60) for each in results.timings
    ]
    lines = lines or [(NOT_RUN, NOT_RUN, None)]
    total = sum(each.seconds for each in results.timings) / 60
    stopped = any(each.is_resumed for each in results.timings)
    notes = ("* Stopped and gone on with: the time of the last attempt alone.",) if stopped else ()
    return Table("timings", "Time of each step", columns, (*lines, ("All so far", "", total)), notes)


def _auc_line(row: AucRow, true: AucRow) -> tuple[Cell, ...]:
    paper = row.paper
    paper_delta = NOT_PUBLISHED if paper is None or row is true else paper.auc - true.paper.auc
    delta = NOT_PUBLISHED if row is true else _interval(row.against_true)
    seeds, sd = (len(row.runs), row.sd) if row.estimate is None else (row.estimate.seeds, row.estimate.sd)
    return (
        row.title,
        NOT_PUBLISHED if paper is None else float(paper.synthetic),
        float(row.synthetic),
        NOT_PUBLISHED if paper is None else paper.auc,
        _interval(row.estimate) or (row.mean, None, None),
        sd if seeds != 1 else NOT_PUBLISHED,
        float(seeds) if seeds else None,
        paper_delta,
        delta,
    )


def _metric_cells(found: list[ImageMetrics], paper: PaperImageMetrics | None) -> list[Cell]:
    """FID, precision and recall, each the paper's and ours; then KID, density and coverage."""
    cells: list[Cell] = []
    for name in METRICS:
        if name in ("fid", "precision", "recall"):
            cells.append(NOT_PUBLISHED if paper is None else getattr(paper, name))
        scale = 1000 if name == "kid" else 1
        over_seeds = spread(getattr(each, name) for each in found)
        if over_seeds is None:
            cells.append(None)
        elif len(over_seeds.values) == 1:
            cells.append(scale * over_seeds.mean)
        else:
            cells.append((scale * over_seeds.mean, scale * over_seeds.low, scale * over_seeds.high))
    return cells


def _agreement_line(agreement: Agreement, asked: np.ndarray, place: int) -> tuple[Cell, ...]:
    return (
        agreement.class_names[place],
        float(asked[place].sum()),
        wilson(asked[place, place], asked[place].sum()),
        1 / len(agreement.class_names),
        asked[:, place].sum() / max(asked.sum(), 1),
        wilson(agreement.test_confusion[place][place], sum(agreement.test_confusion[place])),
        agreement.per_class_auc[place] if len(agreement.per_class_auc) > place else None,
    )


def wilson(hits: int, total: int) -> tuple[float, float, float] | None:
    """Share and its 95% interval by Wilson (1927); None of no images."""
    if not total:
        return None
    interval = binomtest(int(hits), int(total)).proportion_ci(0.95, method="wilson")
    return hits / total, float(interval.low), float(interval.high)


def _interval(estimate: Estimate | None) -> tuple[float, float, float] | None:
    return None if estimate is None else (estimate.mean, estimate.low, estimate.high)


def _mean(values: Iterable[float | None]) -> float | None:
    over_seeds = spread(values)
    return None if over_seeds is None else over_seeds.mean
