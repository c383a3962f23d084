"""Metrics once more, each from its definition, without a line of ours: slow, and plain enough to be read as right.

The conventions are those of `metrics` and `spine_ext`: covariances divided by N, points on a sphere inside it.
"""

import math
import warnings
from itertools import combinations, pairwise

import mpmath
import numpy as np
import scipy.linalg
import scipy.stats
import sklearn.metrics


def frechet_by_sqrtm(real: np.ndarray, fake: np.ndarray) -> float:
    """Heusel et al. 2017, equation 6, with the root of the product of the covariances."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    covariances = [np.atleast_2d(np.cov(each, rowvar=False, bias=True)) for each in (real, fake)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of singular covariances; what it costs is seen in the table
        root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    shift = real.mean(axis=0) - fake.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root).real)


def frechet_in_50_digits(real: np.ndarray, fake: np.ndarray) -> float:
    """The same by eigenvalues in arithmetic of 50 digits, where singular covariances lose nothing."""
    with mpmath.workdps(50):
        (mean_a, cov_a), (mean_b, cov_b) = (_moments_in_many_digits(each) for each in (real, fake))
        eigenvalues = mpmath.eig(cov_a * cov_b, left=False, right=False)
        overlap = sum(mpmath.sqrt(abs(mpmath.re(each))) for each in eigenvalues)
        shift = mean_a - mean_b
        traces = sum(cov_a[i, i] + cov_b[i, i] for i in range(cov_a.rows))
        return float((shift * shift.T)[0] + traces - 2 * overlap)


def _moments_in_many_digits(features: np.ndarray) -> tuple[mpmath.matrix, mpmath.matrix]:
    rows = mpmath.matrix(features.tolist())
    mean = mpmath.matrix([[sum(rows[i, j] for i in range(rows.rows)) / rows.rows for j in range(rows.cols)]])
    for i in range(rows.rows):
        for j in range(rows.cols):
            rows[i, j] -= mean[j]
    return mean, rows.T * rows / rows.rows


def frechet_of_scaled_and_shifted(real: np.ndarray, scale: float, shift: float) -> float:
    """The closed form for fake = scale * real + shift, whatever the covariance."""
    real = real.astype(np.float64)
    moved = (scale - 1) * real.mean(axis=0) + shift
    return float(moved @ moved + (scale - 1) ** 2 * real.var(axis=0).sum())


def kid_by_pairs(real: np.ndarray, fake: np.ndarray) -> float:
    """Binkowski et al. 2018, equation 4, of all images at once: a sum over pairs, the kernel by scikit-learn."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return sklearn.metrics.pairwise.polynomial_kernel(x, y, degree=3, gamma=1 / x.shape[1], coef0=1)

    of_real, of_fake, across = kernel(real, real), kernel(fake, fake), kernel(real, fake)
    pairs_of_real = [of_real[i, j] for i, j in combinations(range(len(real)), 2)]
    pairs_of_fake = [of_fake[i, j] for i, j in combinations(range(len(fake)), 2)]
    return float(math.fsum(pairs_of_real) / len(pairs_of_real) + math.fsum(pairs_of_fake) / len(pairs_of_fake)
                 - 2 * math.fsum(across.ravel()) / across.size)  # fmt: skip


def precision_recall_by_loops(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Kynkaanniemi et al. 2019, equations 1 and 2, image by image."""
    return _part_in_balls(fake, real, k), _part_in_balls(real, fake, k)


def density_coverage_by_loops(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Naeem et al. 2020, equations 4 and 5, ball by ball."""
    radii = _radii(real, k)
    held = [int((_distances(center, fake) <= radius).sum()) for center, radius in zip(real, radii, strict=True)]
    return sum(held) / (k * len(fake)), sum(count > 0 for count in held) / len(real)


def _part_in_balls(points: np.ndarray, centers: np.ndarray, k: int) -> float:
    radii = _radii(centers, k)
    return sum(bool((_distances(point, centers) <= radii).any()) for point in points) / len(points)


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """To the k-th nearest other image."""
    others = (np.delete(_distances(row, features), index) for index, row in enumerate(features))
    return np.array([np.sort(each)[k - 1] for each in others])


def _distances(point: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Differences first, so that a duplicate is at zero exactly and equal distances are equal."""
    return np.sqrt(np.square(features.astype(np.float64) - point.astype(np.float64)).sum(axis=1))


def inception_score_by_entropies(probabilities: np.ndarray, splits: int) -> tuple[float, float]:
    """Salimans et al. 2016 as entropies: log IS = H(mean of p) - mean of H(p), the mutual information."""
    edges = [len(probabilities) * index // splits for index in range(splits + 1)]
    parts = [probabilities[first:last] for first, last in pairwise(edges)]
    scores = [
        math.exp(scipy.stats.entropy(part.mean(axis=0)) - scipy.stats.entropy(part, axis=1).mean()) for part in parts
    ]
    return float(np.mean(scores)), float(np.std(scores))


def mean_path_length_by_sorting(lengths: np.ndarray) -> float:
    """Karras et al. 2019, section 4.1, without the outer 1% on either side, counted in whole paths."""
    ordered = sorted(lengths.tolist())
    outside = (len(ordered) - 1) // 100
    low, high = ordered[outside], ordered[len(ordered) - 1 - outside]
    kept = [length for length in ordered if low <= length <= high]
    return math.fsum(kept) / len(kept)


def auc_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(_outcomes(labels, scores).mean())


def macro_auc_by_pairs(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """labels int (N,), probabilities (N,K): each class against the rest, then the mean."""
    return float(np.mean([auc_by_pairs(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])]))


def delong_interval_by_components(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float, float]:
    """DeLong et al. 1988, equations 4 to 6, and 95% on the logit scale (Pepe 2003)."""
    auc = auc_by_pairs(labels, scores)
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt(_covariance(labels, scores)[0, 0]) / (auc * (1 - auc))
    return auc, *(float(scipy.special.expit(scipy.special.logit(auc) + each)) for each in (-reach, reach))


def delong_test_by_components(labels: np.ndarray, scores: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """Difference, z and two-sided p of the paired test."""
    covariance = _covariance(labels, scores, others)
    difference = auc_by_pairs(labels, scores) - auc_by_pairs(labels, others)
    z = difference / math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return difference, z, float(2 * scipy.stats.norm.cdf(-abs(z)))


def bootstrap_error(labels: np.ndarray, scores: np.ndarray, draws: int, seed: int) -> float:
    """Standard error of the AUC when images of each class are drawn anew, with repetition."""
    random, outcomes = np.random.default_rng(seed), _outcomes(labels, scores)
    shares = [random.multinomial(count, np.full(count, 1 / count), size=draws) / count for count in outcomes.shape]
    return float(np.std(((shares[0] @ outcomes) * shares[1]).sum(axis=1), ddof=1))


def _outcomes(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(positives, negatives): 1 where the positive scores higher, one half for a tie."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return (positive > negative) + 0.5 * (positive == negative)


def _covariance(labels: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """Of the AUCs, from the structural components of all pairs."""
    outcomes = np.stack([_outcomes(labels, each) for each in scores])
    of_positives, of_negatives = (np.atleast_2d(np.cov(outcomes.mean(axis))) for axis in (2, 1))
    return of_positives / outcomes.shape[1] + of_negatives / outcomes.shape[2]


def calibration_error_by_loops(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    """Naeini et al. 2015, bin by bin."""
    total = 0.0
    for index in range(bins):
        last = index == bins - 1
        members = (probabilities >= index / bins) & ((probabilities < (index + 1) / bins) | last)
        if members.any():
            total += members.mean() * abs(probabilities[members].mean() - labels[members].mean())
    return float(total)
