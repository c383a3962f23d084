"""Several runs that differ in their seed: mean AUC, spread, and how sure the mean is."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import t

from .downstream import DownstreamResult

MEANING = (
    "the interval is of the mean over seeds (Student's t): how much split, starting weights and order matter; it says "
    "nothing of other test images, which the interval of each seed does"
)


def summary_of_seeds(results: Mapping[int, DownstreamResult]) -> dict:
    """Plain values out of results by seed; one seed alone has no interval."""
    aucs = np.array([result.auc for result in results.values()])
    mean, reach, spread = float(aucs.mean()), None, None
    if len(aucs) > 1:
        spread = float(aucs.std(ddof=1))
        reach = float(t.ppf(0.975, len(aucs) - 1) * spread / len(aucs) ** 0.5)
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
