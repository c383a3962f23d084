"""The numbers of each metric, by their official names, out of features that are there already."""

import numpy as np

from .density_coverage import density_coverage
from .errors import MetricError
from .frechet import frechet_distance
from .inception_score import inception_score
from .kid import kernel_distance
from .names import (
    DensityCoverageRequest,
    FrechetRequest,
    InceptionScoreRequest,
    KernelRequest,
    PathLengthRequest,
    PrecisionRecallRequest,
    Request,
)
from .perceptual_path_length import mean_path_length
from .precision_recall import precision_recall
from .shards import Shards
from .sources import Progress


def score_features(
    request: Request, real: np.ndarray | None, fake: np.ndarray, seed: int, shards: Shards, progress: Progress | None
) -> dict[str, float]:
    """real (N,D) and fake (M,D): features, or probabilities; all processes have all of them.

    MetricError where a number comes out that is none.
    """
    results = _score(request, real, fake, seed, shards, progress)
    for name, value in results.items():
        if not np.isfinite(value):
            raise MetricError(f"{name} is {value}: the features are too large for it")
    return results


def score_paths(request: PathLengthRequest, lengths: np.ndarray) -> dict[str, float]:
    """lengths: (N,), of single paths."""
    return {request.name: mean_path_length(lengths)}


def _score(
    request: Request, real: np.ndarray | None, fake: np.ndarray, seed: int, shards: Shards, progress: Progress | None
) -> dict[str, float]:
    match request:
        case FrechetRequest():
            return {request.name: frechet_distance(real, fake)}
        case KernelRequest():
            return {request.name: kernel_distance(real, fake, request.num_subsets, request.max_subset_size, seed=seed)}
        case PrecisionRecallRequest():
            found = precision_recall(real, fake, request.k, shards=shards, progress=progress)
            return {f"{request.name}_precision": found.precision, f"{request.name}_recall": found.recall}
        case DensityCoverageRequest():
            found = density_coverage(real, fake, request.k, shards=shards, progress=progress)
            return {f"{request.name}_density": found.density, f"{request.name}_coverage": found.coverage}
        case InceptionScoreRequest():
            score = inception_score(fake, request.splits)
            return {f"{request.name}_mean": score.mean, f"{request.name}_std": score.std}
    raise TypeError(f"no metric of features: {request}")
