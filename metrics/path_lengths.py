"""Path lengths of a generator's first paths, shared over processes."""

from collections.abc import Iterator

import numpy as np
import torch

from .errors import MetricError
from .features import name_of
from .names import PathLengthRequest
from .perceptual_path_length import EPSILON, PerceptualFeatures, squared_path_lengths
from .shards import Shards
from .sources import CHUNK_SIZE, PathSource, Progress


def path_lengths(
    request: PathLengthRequest, source: PathSource, features: PerceptualFeatures, shards: Shards,
    progress: Progress | None,
) -> np.ndarray:  # fmt: skip
    """float64 (N,), N as requested, the same in all processes. MetricError for NaN or Inf."""
    num_chunks = -(-request.num_fake // CHUNK_SIZE)
    indices = range(shards.rank, num_chunks, shards.world_size)
    advance = progress(request.name, "path") if progress else None
    lengths = np.zeros((num_chunks, CHUNK_SIZE))

    def pairs() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for index in indices:
            yield source.path_pairs(index, epsilon=EPSILON, space=request.space, sampling=request.sampling)

    for index, found in zip(indices, squared_path_lengths(pairs(), features), strict=True):
        lengths[index, : len(found)] = found
        if advance:
            advance(min((index + 1) * CHUNK_SIZE, request.num_fake), request.num_fake)
    whole = sum(shards.gather(lengths)).reshape(-1)[: request.num_fake]  # what a process lacks is zero there
    if not np.isfinite(whole).all():
        raise MetricError(
            f"{request.name}: {name_of(features)} gives NaN or Inf for path {np.isfinite(whole).argmin()}"
        )
    return whole
