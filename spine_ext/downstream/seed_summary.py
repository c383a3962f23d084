"""Several runs that differ in their seed: mean AUC, spread, and how sure the mean is; and the same of a difference."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t

from .run import DownstreamResult

MEANING = (
    "the interval is of the mean over seeds (Student's t): how much split, starting weights, order and the choice of "
    "synthetic images matter; it says nothing of other test images, which the interval of each seed does"
)


def summary_of_seeds(results: Mapping[int, DownstreamResult]) -> dict:
    """Plain values out of results by seed; one seed alone has no interval."""
    mean, spread, reach = _mean_over_seeds([result.auc for result in results.values()])
    return {
        "mean_test_auc": mean,
        "standard_deviation": spread,
        "low": None if reach is None else max(0.0, mean - reach),
        "high": None if reach is None else min(1.0, mean + reach),
        "interval": MEANING,
        "seeds": [
            {"seed": seed, "test_auc": one.auc, "low": one.low, "high": one.high, "best_epoch": one.best_epoch,
             "validation_auc": one.validation_auc, "folder": one.folder.name}
            for seed, one in results.items()
        ],
    }  # fmt: skip


def comparison_of_seeds(differences: Mapping[int, float]) -> dict:
    """The mean of differences of AUCs, each of two runs of one seed on the same test images, and its interval.

    One number instead of a p for each seed, of which some are small by chance.
    """
    mean, spread, reach = _mean_over_seeds(list(differences.values()))
    return {
        "mean_difference": mean,
        "standard_deviation": spread,
        "low": None if reach is None else max(-1.0, mean - reach),
        "high": None if reach is None else min(1.0, mean + reach),
        "interval": MEANING,
        "seeds": [{"seed": seed, "difference": difference} for seed, difference in differences.items()],
    }


def _mean_over_seeds(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean, standard deviation, and half the width of the mean's 95% interval; None of a single value."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, None, None
    spread = float(np.std(values, ddof=1))
    return mean, spread, float(t.ppf(0.975, len(values) - 1) * spread / len(values) ** 0.5)
