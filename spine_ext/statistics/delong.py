"""How sure an AUC is, and whether two classifiers differ on the same images: DeLong's method.

DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves", Biometrics 44 (1988), in the O(N log N) form by mid-ranks of Sun, Xu, "Fast implementation of DeLong's
algorithm", IEEE Signal Processing Letters 21 (2014), section III.

The images count as independent: several images of one patient make the intervals too narrow. Where the sample shows
no variance, DeLong's interval would be a point. There the intervals rest on the k = min(positives, negatives) pairs of
images that share none: they are independent, which gives bounds that hold for any distribution and any k.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm, rankdata

from stylegan2ada.errors import UserError

from .binary_predictions import checked_predictions

LEAST_PER_CLASS = 2  # the variance within a class needs two images of it


@dataclasses.dataclass(frozen=True)
class AucDifference:
    """AUC of a minus AUC of b, its interval, and the two-sided test of no difference."""

    difference: float
    low: float
    high: float
    z: float
    p: float


def auc_with_interval(labels: ArrayLike, scores: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """(AUC, low, high) of scores (N,) for labels (N,) of 0 and 1; ties count one half.

    The interval is symmetric on the logit scale (Pepe, "The statistical evaluation of medical tests", 2003, chapter 5):
    it stays within [0, 1], and near 1 it covers better than the plain AUC ± z·SE. An AUC of 1 gets [t, 1], of 0
    [0, 1 - t], of scores that are all equal [t/2, 1 - t/2], where t = (1 - confidence)^(1/k) (module docstring).

    Raises `UserError` for fewer than two images of a class, scores that are not finite, a confidence outside (0, 1).
    """
    tail = _tail(confidence)
    positives, scores = checked_predictions(labels, scores, LEAST_PER_CLASS)
    of_positives, of_negatives = _placements(positives, scores)
    auc, variance = _mean_and_variance(of_positives, of_negatives)
    if variance == 0:  # every pair of images has the same outcome: 1, 0, or a tie
        certain = least_share_of_unanimous_pairs(_disjoint_pairs(positives), tail)
        return auc, certain * auc, certain * auc + (1 - certain)
    logit, error = math.log(auc / (1 - auc)), math.sqrt(variance) / (auc * (1 - auc))
    reach = norm.isf(tail / 2) * error
    return auc, float(expit(logit - reach)), float(expit(logit + reach))


def compare_aucs(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, confidence: float = 0.95
) -> AucDifference:
    """Whether two classifiers differ in AUC on the same N images: a paired test, by the normal approximation.

    Scores that order the images alike have difference 0, z 0, p 1, and the interval ±(1 - t) of `auc_with_interval`'s
    t: that a sample shows no disagreement does not prove there is none. Another difference without variance (a perfect
    classifier against a constant one) gets interval and p from Hoeffding's inequality (1963, section 5), and the z that
    belongs to this p.

    Raises `UserError` as `auc_with_interval`.
    """
    tail = _tail(confidence)
    positives, scores_a = checked_predictions(labels, scores_a, LEAST_PER_CLASS)
    _, scores_b = checked_predictions(labels, scores_b, LEAST_PER_CLASS)
    placements = zip(_placements(positives, scores_a), _placements(positives, scores_b), strict=True)
    difference, variance = _mean_and_variance(*(of_a - of_b for of_a, of_b in placements))
    if variance > 0:
        z = difference / math.sqrt(variance)
        p, reach = 2 * norm.sf(abs(z)), norm.isf(tail / 2) * math.sqrt(variance)
    elif difference == 0:  # then every pair of images has the same outcome for a and b
        z, p, reach = 0.0, 1.0, 1 - least_share_of_unanimous_pairs(_disjoint_pairs(positives), tail)
    else:  # outcomes of a pair lie in [-1, 1]: P(|error| >= r) <= 2·exp(-k·r²/2)
        pairs = _disjoint_pairs(positives)
        p, reach = min(1.0, 2 * math.exp(-pairs * difference**2 / 2)), math.sqrt(2 * math.log(2 / tail) / pairs)
        z = math.copysign(norm.isf(p / 2), difference)
    low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
    return AucDifference(difference, float(low), float(high), float(z), float(p))


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UserError(f"the confidence is {confidence}: give one between 0 and 1, such as 0.95")
    return 1 - confidence


def _placements(positives: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the number of negatives below it, for each negative that of positives above; a tie is one half.

    Counts, not shares: multiples of one half are exact, so a variance of 0 is found as exactly 0.
    """
    ranks = rankdata(scores)
    below_positives = ranks[positives] - rankdata(scores[positives])
    below_negatives = ranks[~positives] - rankdata(scores[~positives])
    return below_positives, positives.sum() - below_negatives


def _mean_and_variance(of_positives: np.ndarray, of_negatives: np.ndarray) -> tuple[float, float]:
    """AUC, or difference of AUCs, and the variance of this estimate, from placements or their differences."""
    positives, negatives = len(of_positives), len(of_negatives)
    mean = of_positives.sum() / (positives * negatives)
    variance_of_positives = of_positives.var(ddof=1) / negatives**2 / positives
    variance_of_negatives = of_negatives.var(ddof=1) / positives**2 / negatives
    return float(mean), float(variance_of_positives + variance_of_negatives)


def _disjoint_pairs(positives: np.ndarray) -> int:
    return int(min(positives.sum(), (~positives).sum()))


def least_share_of_unanimous_pairs(disjoint: int, tail: float) -> float:
    """The smallest probability t of an outcome that is not refuted at level `tail` where all pairs had this outcome.

    The k disjoint pairs alone all have it with probability t^k (the bound of Clopper and Pearson, 1934); k may be 0.
    """
    return tail ** (1 / disjoint) if disjoint else 0.0
