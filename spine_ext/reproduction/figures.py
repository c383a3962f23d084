"""All figures of the reproduction, in the order of the report."""

from .auc_figures import auc_by_count, forest_plot, roc_curves
from .auc_rows import AucRows
from .figure_style import Drawing
from .gan_figures import (
    agreement_matrix,
    metrics_by_kimg,
    privacy_placeholder,
    private_ablation_placeholder,
    training_curves,
)
from .results import Results
from .sample_figures import multiconditional_figure, samples_figure


def all_figures(results: Results, rows: AucRows) -> tuple[list[Drawing], list[str]]:
    """The figures, and in one line each what of their pictures could not be read."""
    problems: list[str] = []
    drawings = [
        forest_plot(rows),
        auc_by_count(rows),
        roc_curves(rows),
        metrics_by_kimg(results),
        samples_figure(results, problems),
        agreement_matrix(results),
        multiconditional_figure(results, problems),
        training_curves(results),
        privacy_placeholder(),
        private_ablation_placeholder(),
    ]
    return drawings, problems
