"""Frechet distance between two sets of features (Heusel et al. 2017, equation 6)."""

import numpy as np


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)) of normal distributions fitted to the
    rows.

    features: (N,D), at least two rows each, the same D. Covariances are divided by N. Computed in float64.

    No covariance is formed and no matrix square root taken: with cov_a = R_a^T R_a, the trace of the root is
    the sum of the singular values of R_a R_b^T. This stays exact where D exceeds N and the covariances are
    singular.
    """
    a, b = _checked(features_a), _checked(features_b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of {a.shape[1]} and {b.shape[1]} dimensions cannot be compared")
    mean_a, root_a = _fit(a)
    mean_b, root_b = _fit(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * overlap
    return float(distance)


def _fit(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) and a root R (min(N,D), D) of the covariance, cov = R^T R."""
    mean = features.mean(axis=0)
    return mean, np.linalg.qr(features - mean, mode="r") / np.sqrt(len(features))


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be (N,D) with at least two rows, not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("features have NaN or Inf values")
    return features
