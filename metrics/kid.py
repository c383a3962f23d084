"""Kernel Inception distance (Binkowski et al. 2018, "Demystifying MMD GANs")."""

import numpy as np

from .feature_sets import check_at_least_one, check_feature_sets


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, num_subsets: int = 100, max_subset_size: int = 1000, *, seed: int
) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y/D + 1)^3, the mean over random subsets.

    real: (N,D), fake: (M,D), at least two rows each. Each subset is m rows of either set, drawn without
    replacement, m the least of N, M and max_subset_size. Not multiplied by 100 or 1000, as some tables are.
    The estimate is unbiased, so for equal distributions it scatters around zero and may be negative.
    Computed in float64; holds one subset at a time. ValueError for unusable features or counts.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    check_feature_sets(real, fake, min_real=2, min_fake=2)
    check_at_least_one(num_subsets=num_subsets)
    if max_subset_size < 2:
        raise ValueError(f"max_subset_size must be at least 2, not {max_subset_size}")
    size = min(len(real), len(fake), max_subset_size)
    random = np.random.default_rng(seed)
    estimates = [
        squared_mmd(_draw(real, size, random).astype(np.float64), _draw(fake, size, random).astype(np.float64))
        for _ in range(num_subsets)
    ]
    return float(np.mean(estimates))


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate: pairs of a row with itself are left out within each set.

    x: float64 (m,D), y: float64 (n,D).
    """
    return _mean_of_pairs(cubic_kernel(x, x)) + _mean_of_pairs(cubic_kernel(y, y)) - 2 * cubic_kernel(x, y).mean()


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x.y/D + 1)^3 of every row of x (m,D) with every row of y (n,D), to (m,n)."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # several times as fast as a power


def _mean_of_pairs(kernel: np.ndarray) -> float:
    count = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (count * (count - 1))


def _draw(features: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    return features[random.choice(len(features), size, replace=False)]
