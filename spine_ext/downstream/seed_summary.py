"""Several runs that differ in their seed: mean AUC, spread, and how sure the mean is; and the same of a difference."""

from collections.abc import Mapping

from ..statistics.grouped_bootstrap import draw_resamples
from ..statistics.seeded_auc import Estimate, SeededAuc, difference, estimate, seeded_auc
from .predictions import Predictions
from .run import DownstreamResult

RESAMPLING_SEED = 0


def summary_of_seeds(results: Mapping[int, DownstreamResult], predictions: Mapping[int, Predictions]) -> dict:
    """Plain values out of results and predictions by seed."""
    mean = estimate(_of_seeds(predictions))
    return {
        "mean_test_auc": mean.mean,
        **_spread(mean, predictions),
        "seeds": [
            {"seed": seed, "test_auc": one.auc, "low": one.low, "high": one.high, "best_epoch": one.best_epoch,
             "validation_auc": one.validation_auc, "folder": one.folder.name}
            for seed, one in results.items()
        ],
    }  # fmt: skip


def comparison_of_seeds(ours: Mapping[int, Predictions], others: Mapping[int, Predictions]) -> dict:
    """The mean of differences of AUCs, each of two runs of one seed on the same test images, and its interval.

    One number instead of a p for each seed, of which some are small by chance.
    """
    differences = difference(_of_seeds(ours), _of_seeds(others))
    mean = estimate(differences)
    return {
        "mean_difference": mean.mean,
        **_spread(mean, ours),
        "seeds": [
            {"seed": seed, "difference": one}
            for seed, one in zip(differences.seeds, differences.aucs.tolist(), strict=True)
        ],
    }


def _of_seeds(predictions: Mapping[int, Predictions]) -> SeededAuc:
    first = next(iter(predictions.values()))
    test = draw_resamples(first.classes, first.groups, RESAMPLING_SEED)
    return seeded_auc(test, {seed: one.probabilities for seed, one in predictions.items()})


def _spread(mean: Estimate, predictions: Mapping[int, Predictions]) -> dict:
    tested = "test images" if next(iter(predictions.values())).groups is None else "test studies"
    return {
        "standard_deviation": mean.sd,
        "low": mean.low,
        "high": mean.high,
        "interval": f"over seeds and {tested}" if mean.seeds > 1 else f"over {tested}: one seed has no spread",
    }
