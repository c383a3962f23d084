"""Figures of the downstream classifiers: all rows of Table 1, AUC by number of synthetic images, ROC curves."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .auc_rows import AucRow, AucRows
from .figure_style import COLOURS, DASHES, GREY, INK, MARKERS, PALE, Drawing, drawing, legend_below, mark_missing
from .paper_numbers import SPINEGAN, STATE_OF_THE_ART, STYLEGAN2_ADA, TITLES, PaperAuc
from .table import NOT_RUN

GANS = (STYLEGAN2_ADA, SPINEGAN)


def forest_plot(rows: AucRows) -> Drawing:
    lines = [None, *rows.all]  # None: the state of the art, which only the paper has

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        labels, numbers = [], []
        if rows.true.mean is not None:
            axes.axvline(rows.true.mean, color=PALE, zorder=0)
        for place, row in enumerate(lines):
            paper = STATE_OF_THE_ART if row is None else row.paper
            labels.append(_label(row, paper))
            numbers.append("" if row is None else _in_words(row))
            if row is not None and row.mean is not None:
                _draw_row(axes, row, place)
            if paper is not None:
                axes.plot(paper.auc, place, marker="d", markersize=6, color="none", markeredgecolor=GREY)
        axes.set_yticks(range(len(lines)), labels)
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlabel("Test AUC")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(lines)), numbers)
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        axes.plot([], [], "o", color=INK, label="here: mean of seeds, 95% interval")
        axes.plot([], [], "d", color="none", markeredgecolor=GREY, label="paper")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, handletextpad=0.3)

    return drawing(
        "auc-forest", "Test AUC by training images",
        "Rows of Table 1. Filled: here, with 95% interval over seeds and test images; ticks: each seed. Hollow: the "
        "paper, on its own images: compare the order of the rows, not their heights. The vertical "
        "line is the AUC of real images alone, here.",
        "Forest plot. " + "; ".join(f"{_label(row, row.paper)}: {_in_words(row)}" for row in lines if row is not None),
        (8.2, 0.36 * len(lines) + 1.0), draw,
    )  # fmt: skip


def auc_by_count(rows: AucRows) -> Drawing:
    """Left the AUC, right its difference to real images alone, which may be compared with the paper's."""

    def draw(figure: Figure) -> None:
        heights, changes = figure.subplots(1, 2)
        counts = sorted({row.synthetic for variant in GANS for row in rows.joined(variant)})
        spots = {count: place for place, count in enumerate(counts)}
        _draw_true(heights, rows)
        if rows.longer.against_true is not None:
            changes.axhline(rows.longer.against_true.mean, color=INK, linewidth=1, linestyle="dotted")
        changes.axhline(0, color=INK, linewidth=1)
        for shift, variant in zip((-0.08, 0.08), GANS, strict=True):
            joined = rows.joined(variant)
            at = {row.synthetic: spots[row.synthetic] + shift for row in joined}
            known = [row for row in joined if row.estimate is not None]
            _points(heights, variant, [(at[row.synthetic], row.estimate) for row in known])
            known = [row for row in joined if row.against_true is not None]
            _points(changes, variant, [(at[row.synthetic], row.against_true) for row in known])
            for row in joined:
                if row.paper is not None:
                    changes.plot(at[row.synthetic], row.paper.auc - rows.true.paper.auc, MARKERS[variant], color="none",
                                 markeredgecolor=COLOURS[variant], markersize=7)  # fmt: skip
        changes.plot([], [], "o", color="none", markeredgecolor=GREY, markersize=7, label="paper (hollow)")
        for axes, title in ((heights, "Test AUC"), (changes, "Difference to real images alone")):
            axes.set_title(title)
            axes.set_xticks(range(len(counts)), [f"{count:,}" for count in counts])
            axes.set_xlim(-0.5, len(counts) - 0.5)
            axes.set_xlabel("Synthetic images added")
            axes.grid(axis="y")
            if not any(row.runs for variant in GANS for row in rows.joined(variant)):
                mark_missing(axes)
        legend_below(figure)

    said = "; ".join(_label(row, row.paper) + ": " + _in_words(row) for variant in GANS for row in rows.joined(variant))
    return drawing(
        "auc-by-count", "Test AUC by number of synthetic images added",
        "Left: mean of seeds with 95% interval; the band is real images alone; dotted, real images alone for as many "
        "steps as with the most synthetic ones. Right: the paired difference to real images alone, "
        "with the paper's differences at the same step as hollow marks.",
        f"Two panels with points and intervals. {said}.", (8.2, 3.5), draw,
    )  # fmt: skip


def roc_curves(rows: AucRows) -> Drawing:
    """Three panels: real and StyleGAN2-ADA's images, real and SpineGAN's, synthetic images alone."""
    panels = {f"True + {TITLES[variant]}": rows.joined(variant) for variant in GANS}
    panels["Synthetic only"] = [row for variant in GANS if (row := rows.only(variant)) is not None]

    def draw(figure: Figure) -> None:
        for axes, (title, shown) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
            axes.plot([0, 1], [0, 1], color=PALE, linewidth=1)
            drawn = [_draw_roc(axes, rows.true, INK, "solid", "real only")]
            for place, row in enumerate(shown):
                is_alone = not row.real
                label = TITLES[row.variant] if is_alone else f"+ {row.synthetic:,}"
                dashes = DASHES[row.variant] if is_alone else ("solid", (0, (5, 2)), "dotted")[place % 3]
                drawn.append(_draw_roc(axes, row, COLOURS[row.variant], dashes, label))
            axes.set(title=title, xlabel="1 − specificity", xlim=(0, 1), ylim=(0, 1.005), aspect="equal",
                     xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])  # fmt: skip
            if any(drawn):
                axes.legend(loc="lower right", fontsize=8)
            else:
                mark_missing(axes)
        figure.axes[0].set_ylabel("Sensitivity")

    known = [f"{_label(row, row.paper)}: AUC {row.mean:.3f}" for row in rows.all if row.runs]
    return drawing(
        "roc", "ROC curves", "On the test images; the mean over seeds at each specificity.",
        "ROC curves in three panels. " + ("; ".join(known) or NOT_RUN) + ".", (8.4, 3.3), draw,
    )  # fmt: skip


def _draw_row(axes: Axes, row: AucRow, place: int) -> None:
    colour = COLOURS.get(row.variant, INK)
    if row.estimate is not None:
        axes.plot([row.estimate.low, row.estimate.high], [place, place], color=colour, solid_capstyle="butt")
    axes.plot([run.auc for run in row.runs], [place] * len(row.runs), "|", color=colour, markersize=5, alpha=0.6)
    axes.plot(row.mean, place, MARKERS.get(row.variant, "o"), color=colour, markersize=6)


def _draw_true(axes: Axes, rows: AucRows) -> None:
    true = rows.true
    if true.estimate is not None:
        axes.axhspan(true.estimate.low, true.estimate.high, color="#f0f0f0", zorder=0)
    if true.mean is not None:
        axes.axhline(true.mean, color=INK, linewidth=1, label="real images alone")
    if rows.longer.mean is not None:
        axes.axhline(rows.longer.mean, color=INK, linewidth=1, linestyle="dotted", label="the same, as many steps")


def _points(axes: Axes, variant: str, points: list) -> None:
    if not points:
        return
    places, estimates = zip(*points, strict=True)
    means = np.array([each.mean for each in estimates])
    reach = [means - [each.low for each in estimates], [each.high for each in estimates] - means]
    axes.errorbar(places, means, reach, fmt=MARKERS[variant], color=COLOURS[variant], linestyle=DASHES[variant],
                  linewidth=1.4, markersize=5, capsize=0, label=TITLES[variant])  # fmt: skip


def _draw_roc(axes: Axes, row: AucRow, colour: str, dashes: object, label: str) -> bool:
    """Whether there was a curve to draw."""
    curves = [run for run in row.runs if len(run.fpr) > 1]
    if not curves:
        return False
    grid = np.linspace(0, 1, 201)
    mean = np.mean([np.interp(grid, run.fpr, run.tpr) for run in curves], axis=0)
    axes.plot([0, *grid], [0, *mean], color=colour, linestyle=dashes, linewidth=1.5, label=label)
    return True


def _label(row: AucRow | None, paper: PaperAuc | None) -> str:
    if row is None:
        return paper.title
    return f"{row.title}, {row.synthetic:,}" if row.synthetic else row.title


def _in_words(row: AucRow) -> str:
    if row.mean is None:
        return NOT_RUN
    if row.estimate is None:
        return f"{row.mean:.3f}"
    return f"{row.estimate.mean:.3f} [{row.estimate.low:.3f}, {row.estimate.high:.3f}]"
