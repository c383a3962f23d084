"""The numbers of each metric, by their official names, out of features that are there already."""

from collections.abc import Callable

import numpy as np
import torch

from .density_coverage import density_coverage
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
from .shards import Shards, failing_together
from .sources import Progress


def score_features(
    request: Request,
    real: np.ndarray | None,
    fake: np.ndarray,
    seed: int,
    device: torch.device | str,
    shards: Shards,
    progress: Progress | None,
) -> dict[str, float]:
    """real (N,D) and fake (M,D): features, or probabilities; all processes have all of them."""
    match request:
        case FrechetRequest():
            return {request.name: _by_one(shards, lambda: frechet_distance(real, fake))}
        case KernelRequest():
            subsets = request.num_subsets, request.max_subset_size
            return {request.name: _by_one(shards, lambda: kernel_distance(real, fake, *subsets, seed=seed))}
        case PrecisionRecallRequest():
            found = precision_recall(real, fake, request.k, device=device, shards=shards, progress=progress)
            return {f"{request.name}_precision": found.precision, f"{request.name}_recall": found.recall}
        case DensityCoverageRequest():
            found = density_coverage(real, fake, request.k, device=device, shards=shards, progress=progress)
            return {f"{request.name}_density": found.density, f"{request.name}_coverage": found.coverage}
        case InceptionScoreRequest():
            score = inception_score(fake, request.splits)
            return {f"{request.name}_mean": score.mean, f"{request.name}_std": score.std}
    raise TypeError(f"no metric of features: {request}")


def score_paths(request: PathLengthRequest, lengths: np.ndarray) -> dict[str, float]:
    """lengths: (N,), of single paths."""
    return {request.name: mean_path_length(lengths)}


def _by_one(shards: Shards, compute: Callable[[], float]) -> float:
    """Computed by the first process, which has all cores for it, and told to the others."""
    with failing_together(shards):
        found = np.array([compute()] if shards.rank == 0 else [], dtype=np.float64)
    return float(np.concatenate(shards.gather(found))[0])
