"""Frechet distance between two sets of features (Heusel et al. 2017, equation 6)."""

from typing import NamedTuple

import numpy as np

from .feature_sets import check_feature_sets

BLOCK = 8192


class Gaussian(NamedTuple):
    """A normal distribution fitted to rows: their number, mean (D,) and a root of their scatter around it.

    root: (min(count, D) or less, D), root^T root = sum of the outer products. The covariance is that over count.
    """

    count: int
    mean: np.ndarray
    root: np.ndarray


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray, block: int = BLOCK) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)) of normal distributions fitted to the
    rows.

    features: (N,D), at least two rows each, the same D. Covariances are divided by N. Computed in float64, `block`
    rows at a time.

    No covariance is formed and no matrix square root taken: with cov_a = R_a^T R_a, the trace of the root is
    the sum of the singular values of R_a R_b^T. This stays exact where D exceeds N and the covariances are
    singular.
    """
    a, b = np.asarray(features_a), np.asarray(features_b)
    check_feature_sets(a, b, min_real=2, min_fake=2)
    return distance_of_gaussians(fit_gaussian(a, block), fit_gaussian(b, block))


def distance_of_gaussians(a: Gaussian, b: Gaussian) -> float:
    """The distance of two fits."""
    root_a, root_b = a.root / np.sqrt(a.count), b.root / np.sqrt(b.count)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(a.mean - b.mean).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * overlap
    return float(distance)


def fit_gaussian(features: np.ndarray, block: int = BLOCK) -> Gaussian:
    """Of (N,D) features, whose blocks alone are ever in float64."""
    fit = _fit_block(features[:block])
    for start in range(block, len(features), block):
        fit = merge(fit, _fit_block(features[start : start + block]))
    return fit


def merge(a: Gaussian, b: Gaussian) -> Gaussian:
    """The fit of both sets of rows together (Chan et al. 1979: scatters add up, and that of the two means)."""
    count, shift = a.count + b.count, b.mean - a.mean
    between = np.sqrt(a.count * b.count / count) * shift
    root = np.linalg.qr(np.concatenate([a.root, b.root, between[None]]), mode="r")
    return Gaussian(count, a.mean + shift * (b.count / count), root)


def _fit_block(features: np.ndarray) -> Gaussian:
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    return Gaussian(len(features), mean, np.linalg.qr(features - mean, mode="r"))
