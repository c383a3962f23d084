"""Inception score (Salimans et al. 2016, "Improved techniques for training GANs", section 4)."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import rel_entr

SUM_TOLERANCE = 1e-3  # what a softmax in float16 loses


class InceptionScore(NamedTuple):
    """Mean and standard deviation (divided by their number) over the splits."""

    mean: float
    std: float


def inception_score(probabilities: np.ndarray, splits: int = 10) -> InceptionScore:
    """exp(E_x KL(p(y|x) || p(y))), computed for each of `splits` consecutive parts of the images.

    probabilities: (N,C), each row the classes of one image and summing to 1; N at least `splits`. Where N is no
    multiple of it, parts differ by one image. Each value lies in [1, C]. ValueError for unusable input.
    """
    probabilities = np.asarray(probabilities)
    _check(probabilities, splits)
    edges = [len(probabilities) * i // splits for i in range(splits + 1)]
    scores = [_score(probabilities[a:b].astype(np.float64)) for a, b in pairwise(edges)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(probabilities: np.ndarray) -> float:
    divergences = rel_entr(probabilities, probabilities.mean(axis=0)).sum(axis=1)
    return np.exp(divergences.mean())


def _check(probabilities: np.ndarray, splits: int) -> None:
    if splits < 1:
        raise ValueError(f"splits must be at least 1, not {splits}")
    if probabilities.ndim != 2 or probabilities.shape[1] == 0 or probabilities.dtype.kind not in "fiu":
        raise ValueError(f"probabilities must be numbers (N,C), not {probabilities.dtype} {probabilities.shape}")
    if len(probabilities) < splits:
        raise ValueError(f"{len(probabilities)} images are too few for {splits} splits")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities have NaN or Inf values")
    if (probabilities < 0).any():
        raise ValueError(f"probabilities must not be negative: {probabilities.min()}")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUM_TOLERANCE:
        raise ValueError(f"the probabilities of image {worst} sum to {sums[worst]:g}, not to 1")
