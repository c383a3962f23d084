"""What every metric of two sets of features asks of them."""

import numpy as np

ROWS_AT_ONCE = 4096


def check_feature_sets(real: np.ndarray, fake: np.ndarray, min_real: int, min_fake: int) -> None:
    """ValueError unless real is (N,D) and fake (M,D), of the same D, finite, with at least so many rows.

    Looks at a few rows at a time and converts nothing: the sets may be as large as the memory.
    """
    for name, features, minimum in (("real", real, min_real), ("fake", fake, min_fake)):
        if features.ndim != 2 or features.shape[1] == 0 or features.dtype.kind not in "fiu":
            raise ValueError(f"{name} features must be numbers (N,D), not {features.dtype} {features.shape}")
        if len(features) < minimum:
            raise ValueError(f"{len(features)} {name} images are too few: at least {minimum} are needed")
        for start in range(0, len(features), ROWS_AT_ONCE):
            if not np.isfinite(features[start : start + ROWS_AT_ONCE]).all():
                raise ValueError(f"{name} features have NaN or Inf values")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features of {real.shape[1]} (real) and {fake.shape[1]} (fake) dimensions cannot be compared")


def check_at_least_one(**counts: int) -> None:
    """ValueError that names the first of the numbers below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")
