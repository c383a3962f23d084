"""Intervals of AUCs by resampling studies instead of images: images of one patient are not independent.

Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13 (percentile interval); whole clusters are
drawn as in Rutter, "Bootstrap estimation of diagnostic accuracy with patient-clustered data", Academic Radiology 7
(2000). Strata are the sets of classes that occur in a study, so that every class is in every resample. A stratum of one
study would be drawn as it is and make the interval too narrow, so those are drawn together where no class can get lost.
"""

import dataclasses

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 2000
_AT_ONCE = 100  # resamples, for memory


@dataclasses.dataclass(frozen=True)
class BootstrapInterval:
    """The 95% percentile interval of a macro AUC, and how many studies were drawn how often."""

    low: float
    high: float
    groups: int
    resamples: int


def macro_auc_interval(
    classes: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, seed: int, resamples: int = RESAMPLES
) -> BootstrapInterval:
    """Of the mean over the classes of the AUC of one class against the rest; for two classes, of the AUC of class 1.

    classes int (N,), probabilities (N,K), groups int (N,); without groups every image is one of its own.
    """
    drawn = _macro_aucs(classes, probabilities, groups, seed, resamples)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return BootstrapInterval(float(low), float(high), _count(classes, groups), resamples)


def macro_auc_difference(
    classes: np.ndarray,
    probabilities_a: np.ndarray,
    probabilities_b: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
    resamples: int = RESAMPLES,
) -> BootstrapInterval:
    """Of the macro AUC of a minus that of b, both on the same resamples: a paired interval."""
    of_a = _macro_aucs(classes, probabilities_a, groups, seed, resamples)
    of_b = _macro_aucs(classes, probabilities_b, groups, seed, resamples)
    low, high = np.quantile(of_a - of_b, [0.025, 0.975])
    return BootstrapInterval(float(low), float(high), _count(classes, groups), resamples)


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


def weighted_auc(positives: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) AUCs of scores (N,) for positives bool (N,), image n counting weights[b,n] times; ties count one half."""
    place = rankdata(scores, method="dense") - 1
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    of_positives = np.add.reduceat((weights * positives)[:, order], starts, axis=1)  # (B, distinct scores)
    of_negatives = np.add.reduceat((weights * ~positives)[:, order], starts, axis=1)
    below = of_negatives.cumsum(axis=1) - of_negatives / 2
    return (of_positives * below).sum(axis=1) / (of_positives.sum(axis=1) * of_negatives.sum(axis=1))


def _macro_aucs(
    classes: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, seed: int, resamples: int
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    judged = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    parts = []
    for first in range(0, resamples, _AT_ONCE):
        weights = resampled_weights(classes, groups, generator, min(_AT_ONCE, resamples - first))
        aucs = [weighted_auc(classes == label, probabilities[:, label], weights) for label in judged]
        parts.append(np.mean(aucs, axis=0))
    return np.concatenate(parts)


def _count(classes: np.ndarray, groups: np.ndarray | None) -> int:
    return len(classes if groups is None else np.unique(groups))
