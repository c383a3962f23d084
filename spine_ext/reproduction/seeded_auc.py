"""The AUC of a row that was trained with several seeds: mean, spread between seeds, and an interval over both.

An AUC of one run is uncertain twice over: another test set would give another one, and so would another seed. The
part of the test set is the variance of the mean over seeds in a bootstrap of test images; images of one study are
drawn together, and studies within their stratum (only normal images, only abnormal ones, both), so that both classes
stay. All rows get the same resamples, which is what makes differences of rows paired. The part of the seeds is their
variance, divided by their number. The interval is that of t with the degrees of freedom of the sum (Satterthwaite,
"An approximate distribution of estimates of variance components", Biometrics Bulletin 2, 1946): two seeds that are
all there is to know of a spread make it as wide as it must be, where resampling them would not. In simulations of two
to five seeds, which spread from nothing to ten times as much as test sets do, intervals of 95% held the truth in 88
to 95% of cases: 94% or more where seeds spread no more than test sets, the least of two seeds that spread more. One
seed shows no spread: its interval is the quantiles of the bootstrap, and covers the test images alone.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from stylegan2ada.errors import UserError

from ..statistics.binary_predictions import checked_predictions
from ..statistics.delong import auc_with_interval

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval; sd, the standard deviation between seeds, is None for one seed."""

    mean: float
    low: float
    high: float
    sd: float | None
    seeds: int

    @property
    def includes_zero(self) -> bool:
        return self.low <= 0 <= self.high


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Labels of the test images, and how often each is drawn in each resample.

    Attributes:
        positives: bool (N,).
        weights: (resamples, N), whole numbers.
    """

    positives: np.ndarray
    weights: np.ndarray

    __test__ = False  # not a test of pytest


@dataclasses.dataclass(frozen=True)
class SeededAuc:
    """AUCs of a row by seed, or differences of two rows.

    Attributes:
        seeds: (S,) in rising order.
        aucs: (S,) on the test set as it is.
        resampled: (S, resamples) on the resamples of the test set.
        bounds: what an interval without any spread becomes: of a perfect AUC, see `delong`.
    """

    seeds: tuple[int, ...]
    aucs: np.ndarray
    resampled: np.ndarray
    bounds: tuple[float, float] | None = None


def resampled_test_set(
    labels: ArrayLike, groups: ArrayLike | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> TestSet:
    """Draws the resamples of a test set with labels (N,) of 0 and 1; `groups` (N,) say which images share a study.

    Without groups every image counts as independent, which makes intervals too narrow where several are of one patient.
    Raises `UserError` for labels other than 0 and 1, a class without images, or another number of groups.
    """
    positives, _ = checked_predictions(labels, np.zeros(len(np.asarray(labels))), least_per_class=1)
    groups = np.arange(len(positives)) if groups is None else np.asarray(groups)
    if groups.shape != positives.shape:
        raise UserError(f"{len(groups)} groups for {len(positives)} labels: give one group per image")
    _, group_of_image = np.unique(groups, return_inverse=True)
    images = np.bincount(group_of_image)
    abnormal = np.bincount(group_of_image, weights=positives)
    strata = np.where(abnormal == 0, 0, np.where(abnormal == images, 1, 2))
    random = np.random.default_rng(seed)
    drawn = np.zeros((resamples, len(images)), dtype=np.float64)
    for stratum in range(3):
        members = np.flatnonzero(strata == stratum)
        if len(members):
            drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return TestSet(positives, drawn[:, group_of_image])


def weighted_aucs(positives: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of scores (N,) for each row of weights (R,N), ties one half: float64 (R,), sorting the scores once."""
    order = np.argsort(scores[~positives])
    negatives = scores[~positives][order]
    of_positives, of_negatives = weights[:, positives], weights[:, ~positives][:, order]
    weight_below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(of_negatives, axis=1, out=weight_below[:, 1:])
    strictly = weight_below[:, np.searchsorted(negatives, scores[positives], side="left")]
    or_equal = weight_below[:, np.searchsorted(negatives, scores[positives], side="right")]
    pairs = of_positives.sum(axis=1) * weight_below[:, -1]
    return np.einsum("rp,rp->r", of_positives, strictly + or_equal) / (2 * pairs)


def seeded_auc(test: TestSet, scores: dict[int, np.ndarray]) -> SeededAuc:
    """The AUCs of a row whose run of each seed gave scores (N,) to the test images.

    Raises `UserError` for no seeds, another number of scores, or scores that are not finite.
    """
    if not scores:
        raise UserError("there are no seeds: give the scores of at least one")
    seeds = tuple(sorted(scores))
    checked = [checked_predictions(test.positives.astype(int), scores[seed])[1] for seed in seeds]
    once = np.ones((1, len(test.positives)))
    aucs = np.concatenate([weighted_aucs(test.positives, each, once) for each in checked])
    resampled = np.stack([weighted_aucs(test.positives, each, test.weights) for each in checked])
    bounds = auc_with_interval(test.positives.astype(int), checked[0])[1:] if np.ptp(resampled) == 0 else None
    return SeededAuc(seeds, aucs, resampled, bounds)


def difference(a: SeededAuc, b: SeededAuc) -> SeededAuc | None:
    """AUC of a minus AUC of b, over the seeds that both have; None where they share none."""
    shared = sorted(set(a.seeds) & set(b.seeds))
    if not shared:
        return None
    in_a, in_b = [a.seeds.index(seed) for seed in shared], [b.seeds.index(seed) for seed in shared]
    return SeededAuc(tuple(shared), a.aucs[in_a] - b.aucs[in_b], a.resampled[in_a] - b.resampled[in_b])


def estimate(row: SeededAuc, confidence: float = CONFIDENCE) -> Estimate:
    """Mean over seeds with its interval (module docstring).

    The limits stay within [0, 1], for differences within [-1, 1], and hold the mean.
    """
    mean, count = float(row.aucs.mean()), len(row.seeds)
    if row.bounds is not None:
        return Estimate(mean, *row.bounds, sd=0.0 if count > 1 else None, seeds=count)
    means = row.resampled.mean(axis=0)
    if count == 1:
        sd, limits = None, np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    else:
        sd = float(row.aucs.std(ddof=1))
        reach = _reach(float(means.var(ddof=1)), sd**2 / count, count, confidence)
        limits = mean - reach, mean + reach
    least = 0.0 if row.aucs.min() >= 0 and row.resampled.min() >= 0 else -1.0
    low, high = (float(limit) for limit in limits)
    return Estimate(mean, min(mean, max(least, low)), max(mean, min(1.0, high)), sd, count)


def _reach(of_test_sets: float, of_seeds: float, count: int, confidence: float) -> float:
    """Half the width of the interval of a mean over `count` seeds, from the two parts of its variance."""
    total = of_test_sets + of_seeds
    freedom = (count - 1) * (total / of_seeds) ** 2 if of_seeds > 0 else math.inf
    return float(t.isf((1 - confidence) / 2, freedom)) * math.sqrt(total)
