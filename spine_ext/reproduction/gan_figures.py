"""Figures of the GANs: image metrics and statistics during training, agreement of classes, private placeholders."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figure_style import COLOURS, DASHES, GREY, INK, PALE, Drawing, drawing, legend_below, mark_missing
from .gan_quality import is_mark_for
from .paper_numbers import (
    FIGURE_1_NOISE_STDS,
    FIGURE_3_SETTINGS,
    MULTICONDITIONAL,
    SPINEGAN,
    SPINEGAN_STRONG,
    STYLEGAN2_ADA,
    TITLES,
)
from .results import Results
from .table import NOT_RUN

COMPARED = (STYLEGAN2_ADA, SPINEGAN)
STATISTICS = {
    "Loss/G/loss": "Generator loss",
    "Loss/D/loss": "Discriminator loss",
    "Loss/G/clinical": "Clinical term, before its weight",
    "Progress/augment": "Probability of augmentation",
}
Line = tuple[list[float], list[float]]


def privacy_placeholder() -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set(xlabel="Standard deviation of the noise", ylabel="ε", yscale="log", ylim=(1, 1e6),
                 xlim=(0, max(FIGURE_1_NOISE_STDS) + 0.05))  # fmt: skip
        axes.grid(axis="y")
        mark_missing(axes)

    return drawing("figure-1-epsilon", "Figure 1: ε by noise", "Not run: the private variant does not exist yet.",
                   "Empty axes, ε against the noise: not run.", (5.0, 2.3), draw)  # fmt: skip


def private_ablation_placeholder() -> Drawing:
    def draw(figure: Figure) -> None:
        for axes, setting in zip(figure.subplots(1, len(FIGURE_3_SETTINGS)), FIGURE_3_SETTINGS, strict=True):
            axes.set_title(setting, fontsize=8, fontweight="normal", loc="center")
            axes.set(xticks=[], yticks=[], aspect="equal")
            for spine in axes.spines.values():
                spine.set(visible=True, color=PALE)
            mark_missing(axes)

    return drawing("figure-3-private", "Figure 3: samples of the private ablation",
                   "Not run: the private variant does not exist yet.",
                   "Four empty cells, one for each private setting: not run.", (7.0, 2.0), draw)  # fmt: skip


def metrics_by_kimg(results: Results) -> Drawing:
    """Figure 2: FID, precision and recall against the length of training."""
    names = {"fid": "FID (lower is better)", "precision": "Precision", "recall": "Recall"}

    def draw(figure: Figure) -> None:
        for axes, (name, title) in zip(figure.subplots(1, 3), names.items(), strict=True):
            for variant in COMPARED:
                runs = [
                    [(each.kimg, getattr(each, name)) for each in run.series if getattr(each, name) is not None]
                    for run in results.metrics_of(variant)
                ]
                lines = [tuple(map(list, zip(*run, strict=True))) for run in runs if run]
                _draw_seeds(axes, lines, variant, mark=True)
            _draw_real(axes, results, name)
            axes.set(title=title, xlabel="kimg")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
            if not axes.has_data():
                mark_missing(axes)
        legend_below(figure)

    ends = [
        f"{TITLES[variant]}, seed {run.seed}: FID {_said(run.series[-1].fid, 1)}, precision "
        f"{_said(run.series[-1].precision, 3)}, recall {_said(run.series[-1].recall, 3)}"
        for variant in COMPARED for run in results.metrics_of(variant)
    ]  # fmt: skip
    return drawing(
        "figure-2-metrics", "Figure 2: FID, precision and recall during training",
        "By thousands of real images shown (kimg). Thin: each seed; thick: their mean. Dotted, where they are as "
        "many: what real test images score against the training images.",
        "Three panels of curves by length of training. At the end: " + ("; ".join(ends) or NOT_RUN) + ".",
        (8.4, 3.1), draw,
    )  # fmt: skip


def training_curves(results: Results) -> Drawing:
    variants = (STYLEGAN2_ADA, SPINEGAN, SPINEGAN_STRONG, MULTICONDITIONAL)
    shown = {name: title for name, title in STATISTICS.items() if _statistic(results, variants, name)}
    shown = shown or dict(list(STATISTICS.items())[:2])

    def draw(figure: Figure) -> None:
        for axes, (name, title) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
            for variant in variants:
                lines = [_line(gan.stats, name) for gan in results.gans_of(variant)]
                _draw_seeds(axes, [line for line in lines if line[0]], variant, mark=False)
            axes.set(title=title, xlabel="kimg")
            axes.grid(axis="y")
            if not axes.has_data():
                mark_missing(axes)
        legend_below(figure)

    return drawing("training-curves", "Training curves", "Mean of each tick; thin: each seed, thick: their mean.",
                   f"Curves during training: {', '.join(shown.values()).lower()}.", (2.9 * max(len(shown), 2), 2.9),
                   draw)  # fmt: skip


def agreement_matrix(results: Results) -> Drawing:
    """Left generated images by the class asked for, right real test images by their class; columns: class seen."""
    first = results.agreements[0] if results.agreements else None

    def draw(figure: Figure) -> None:
        titles = ("Generated: asked for, and seen", "Real test images: true class, and seen")
        for place, (axes, title) in enumerate(zip(figure.subplots(1, 2, sharey=True), titles, strict=True)):
            axes.set_title(title)
            if first is None:
                axes.set(xticks=[], yticks=[])
                mark_missing(axes)
                continue
            table = first.test_confusion
            if place == 0:
                same = [each.asked_seen for each in results.agreements if each.class_names == first.class_names]
                table = np.sum(same, axis=0)
            _draw_shares(axes, np.array(table, dtype=float), first.class_names)
            if place == 0:
                axes.set_yticks(range(len(first.class_names)), first.class_names, fontsize=8)

    said = "not run" if first is None else ", ".join(
        f"{name} {row[place] / max(sum(row), 1):.0%}"
        for place, (name, row) in enumerate(zip(first.class_names, first.asked_seen, strict=True))
    )  # fmt: skip
    return drawing(
        "agreement-matrix", "MultiConditional: class asked for and class seen",
        "Percent of each row. A classifier trained on real images looks at generated images (left) and, as the measure "
        "of what it can see at all, at real test images (right).",
        f"Two matrices of percentages. Generated images seen as asked for: {said}.", (8.4, 4.2), draw,
    )  # fmt: skip


def _draw_shares(axes: Axes, table: np.ndarray, names: tuple[str, ...]) -> None:
    shares = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if round(share) >= 1:
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7.5,
                      color="white" if share > 55 else INK)  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_seeds(axes: Axes, lines: list[Line], variant: str, mark: bool) -> None:
    """Each seed thin, their mean thick, on the stretch that all have reached."""
    if not lines:
        return
    colour = COLOURS[variant]
    if len(lines) > 1:
        for kimg, values in lines:
            axes.plot(kimg, values, color=colour, linewidth=0.7, alpha=0.45)
    end = min(kimg[-1] for kimg, _ in lines)
    grid = [kimg for kimg in max(lines, key=lambda line: len(line[0]))[0] if kimg <= end]
    mean = np.mean([np.interp(grid, *line) for line in lines], axis=0)
    axes.plot(grid, mean, color=colour, linestyle=DASHES[variant], label=TITLES[variant], marker="o" if mark else None,
              markersize=3)  # fmt: skip


def _draw_real(axes: Axes, results: Results, name: str) -> None:
    generated = [run for variant in COMPARED for run in results.metrics_of(variant)]
    for run in results.metrics_of("real"):
        if is_mark_for(run, generated) and (value := getattr(run.series[-1], name)) is not None:
            axes.axhline(value, color=GREY, linestyle="dotted", linewidth=1.2, label="Real test images")


def _statistic(results: Results, variants: tuple[str, ...], name: str) -> bool:
    """Whether it was ever other than 0."""
    return any(line.get(name) for variant in variants for gan in results.gans_of(variant) for line in gan.stats)


def _line(stats: tuple[dict[str, float], ...], name: str) -> Line:
    known = [line for line in stats if name in line]
    return [line["kimg"] for line in known], [line[name] for line in known]


def _said(value: float | None, digits: int) -> str:
    return NOT_RUN if value is None else f"{value:.{digits}f}"
