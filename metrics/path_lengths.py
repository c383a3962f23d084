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
    request: PathLengthRequest,
    source: PathSource,
    features: PerceptualFeatures,
    shards: Shards,
    progress: Progress | None,
) -> np.ndarray:
    """float64 (N,), the same in all processes. N is as requested, rounded up to whole chunks: a chunk's paths may come
    in any order. MetricError for NaN or Inf.
    """
    num_chunks = -(-request.num_fake // CHUNK_SIZE)
    advance = progress(request.name, "path") if progress else None
    found = []
    for index in range(shards.rank, num_chunks, shards.world_size):
        pairs = source.path_pairs(index, space=request.space, sampling=request.sampling, epsilon=EPSILON)
        found += squared_path_lengths(_as_rgb(pairs), features)
        if advance:
            advance(min(index + shards.world_size, num_chunks) * CHUNK_SIZE, num_chunks * CHUNK_SIZE)
    lengths = np.concatenate(shards.gather(np.concatenate([np.zeros(0), *found])))
    if not np.isfinite(lengths).all():
        raise MetricError(f"{request.name}: {name_of(features)} gives NaN or Inf")
    return lengths


def _as_rgb(pairs: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for a, b in pairs:
        yield a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)
