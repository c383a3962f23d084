"""Intervals of AUCs by resampling studies instead of images: images of one patient are not independent.

Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13 (percentile interval); whole clusters are
drawn as in Rutter, "Bootstrap estimation of diagnostic accuracy with patient-clustered data", Academic Radiology 7
(2000). Strata are the sets of classes that occur in a study, so that every class is in every resample. A stratum of one
study would be drawn as it is and make the interval too narrow, so those are drawn together where no class can get lost.

Macro AUC: the mean over the classes of the AUC of one class against the rest; for two classes, the AUC of class 1.
"""

import dataclasses

import numpy as np
from scipy.stats import rankdata

from .delong import least_share_of_unanimous_pairs

RESAMPLES = 2000
TAIL = 0.05
_AT_ONCE = 100  # resamples, for memory


@dataclasses.dataclass(frozen=True)
class BootstrapInterval:
    """The 95% percentile interval of a macro AUC, and how many studies were drawn how often."""

    low: float
    high: float
    groups: int
    resamples: int


@dataclasses.dataclass(frozen=True)
class Resamples:
    """Of a test set, for all that is judged on it: macro AUCs on the same resamples are paired.

    Attributes:
        classes: int (N,) of the images.
        groups: (N,), the study of each; where studies are unknown, every image is one of its own.
        weights: int (R,N), how often each image is in each resample.
    """

    classes: np.ndarray
    groups: np.ndarray
    weights: np.ndarray

    def macro_aucs(self, probabilities: np.ndarray) -> np.ndarray:
        """float64 (R,), of probabilities (N,K)."""
        parts = [self.weights[first : first + _AT_ONCE] for first in range(0, len(self.weights), _AT_ONCE)]
        return np.concatenate([macro_aucs(self.classes, probabilities, weights) for weights in parts])

    def interval(self, drawn: np.ndarray) -> BootstrapInterval:
        """Of macro AUCs (R,), or of their differences."""
        low, high = np.quantile(drawn, [0.025, 0.975])
        return BootstrapInterval(float(low), float(high), len(np.unique(self.groups)), len(self.weights))

    def doubted(self, interval: BootstrapInterval, least: float = 0.0) -> BootstrapInterval:
        """The interval of a value in [least, 1]; where it is a point, `bounds_without_spread`."""
        if interval.low < interval.high:
            return interval
        low, high = bounds_without_spread(interval.low, least, self.doubt)
        return dataclasses.replace(interval, low=low, high=high)

    @property
    def doubt(self) -> float:
        """1 - t of `delong`'s intervals without variance, for pairs of studies that share none and all classes at once:
        the share of pairs of images that may come out otherwise where all that were seen agree."""
        count = int(self.classes.max()) + 1
        pairs = min(self._disjoint_pairs(self.classes == label) for label in range(count))
        return 1 - least_share_of_unanimous_pairs(pairs, TAIL / (1 if count == 2 else count))

    def _disjoint_pairs(self, positives: np.ndarray) -> int:
        sides = [len(np.unique(self.groups[side])) for side in (positives, ~positives)]
        return min(*sides, len(np.unique(self.groups)) // 2)


def draw_resamples(
    classes: np.ndarray, groups: np.ndarray | None, seed: int, resamples: int = RESAMPLES
) -> Resamples:
    """classes int (N,); without groups (N,) every image counts as a study of its own."""
    generator = np.random.default_rng(seed)
    counts = [min(_AT_ONCE, resamples - first) for first in range(0, resamples, _AT_ONCE)]
    weights = [resampled_weights(classes, groups, generator, count).astype(np.int32) for count in counts]
    return Resamples(classes, np.arange(len(classes)) if groups is None else groups, np.concatenate(weights))


def resampled_weights(
    classes: np.ndarray, groups: np.ndarray | None, generator: np.random.Generator, count: int
) -> np.ndarray:
    """int (count,N): how often each image is in each resample."""
    numbers = np.arange(len(classes)) if groups is None else np.unique(groups, return_inverse=True)[1]
    present = np.zeros((numbers.max() + 1, classes.max() + 1), dtype=bool)
    present[numbers, classes] = True
    strata = _strata(present)
    times = np.zeros((count, len(present)), dtype=np.int64)
    for stratum in range(strata.max() + 1):
        members = np.flatnonzero(strata == stratum)
        times[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size=count)
    return times[:, numbers]


def _strata(present: np.ndarray) -> np.ndarray:
    """int (G,): which studies are drawn among each other, by the classes in them, bool (G,K)."""
    strata = np.unique(present, axis=0, return_inverse=True)[1].reshape(-1)
    single = (np.bincount(strata) == 1)[strata]
    kept = present[~single].any(axis=0)  # classes that no resample is without
    strata[single & ~(present & ~kept).any(axis=1)] = strata.max() + 1
    return np.unique(strata, return_inverse=True)[1]


def macro_aucs(classes: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) of probabilities (N,K) for classes int (N,), image n counting weights[b,n] times."""
    judged = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return np.mean([weighted_auc(classes == label, probabilities[:, label], weights) for label in judged], axis=0)


def weighted_auc(positives: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) AUCs of scores (N,) for positives bool (N,), image n counting weights[b,n] times; ties count one half."""
    place = rankdata(scores, method="dense") - 1
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    of_positives = np.add.reduceat((weights * positives)[:, order], starts, axis=1)  # (B, distinct scores)
    of_negatives = np.add.reduceat((weights * ~positives)[:, order], starts, axis=1)
    below = of_negatives.cumsum(axis=1) - of_negatives / 2
    return (of_positives * below).sum(axis=1) / (of_positives.sum(axis=1) * of_negatives.sum(axis=1))


def bounds_without_spread(value: float, least: float, doubt: float) -> tuple[float, float]:
    """Of a value in [least, 1] that no resample changes: what `Resamples.doubt` leaves open, instead of a point."""
    return value - doubt * (value - least), value + doubt * (1 - value)
