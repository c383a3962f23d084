"""Perceptual path length (Karras et al. 2019, "A style-based generator architecture", section 4.1)."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from .errors import MetricError

EPSILON = 1e-4
OUTLIER_PERCENT = 1.0

PerceptualFeatures = Callable[[torch.Tensor], torch.Tensor]
"""float (N,3,H,W), about 0..255, to (N,D)."""


@torch.no_grad()
def squared_path_lengths(
    pairs: Iterable[tuple[torch.Tensor, torch.Tensor]], features: PerceptualFeatures, epsilon: float = EPSILON
) -> Iterator[np.ndarray]:
    """float64 (n,) for each pair of (n,3,H,W) images `epsilon` apart: |f(a) - f(b)|^2 / epsilon^2."""
    for a, b in pairs:
        both = features(torch.cat([a, b]))
        if both.ndim != 2 or len(both) != 2 * len(a):
            raise MetricError(f"perceptual features must be (N,D), not {tuple(both.shape)} of {2 * len(a)} images")
        first, second = both.double().split(len(a))
        yield ((first - second).square().sum(dim=1) / epsilon**2).cpu().numpy()


def mean_path_length(lengths: np.ndarray) -> float:
    """The mean of those between the 1st and the 99th percentile, both of which are values that are there.

    lengths: (N,), N at least 1. ValueError for NaN or Inf.
    """
    if lengths.ndim != 1 or len(lengths) == 0 or not np.isfinite(lengths).all():
        raise ValueError("path lengths must be (N,) finite numbers")
    low = np.percentile(lengths, OUTLIER_PERCENT, method="lower")
    high = np.percentile(lengths, 100 - OUTLIER_PERCENT, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
