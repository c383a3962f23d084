"""Path lengths of a generator's first paths, shared over processes."""

from collections.abc import Iterator

import numpy as np
import torch

from .errors import MetricError
from .features import name_of
from .names import PathLengthRequest
from .perceptual_path_length import EPSILON, PerceptualFeatures, squared_path_lengths
from .shards import Shards, failing_together
from .sources import CHUNK_SIZE, PathSource, Progress


def path_lengths(
    request: PathLengthRequest,
    source: PathSource,
    features: PerceptualFeatures,
    batch: int,
    shards: Shards,
    progress: Progress | None,
) -> np.ndarray:
    """float64 (N,), N as requested, the same in all processes. batch: pairs at a time. MetricError for NaN or Inf."""
    num_chunks = -(-request.num_fake // CHUNK_SIZE)
    advance = progress(request.name, "path") if progress else None
    lengths = np.zeros((num_chunks, CHUNK_SIZE))
    with failing_together(shards):
        for index in range(shards.rank, num_chunks, shards.world_size):
            a, b = source.path_pairs(index, epsilon=EPSILON, space=request.space, sampling=request.sampling)
            lengths[index] = np.concatenate(list(squared_path_lengths(_parts(a, b, batch), features)))
            if advance:
                advance(min((index + shards.world_size) * CHUNK_SIZE, request.num_fake), request.num_fake)
    lengths = sum(shards.gather(lengths))  # what a process has not is zero there
    lengths = lengths.reshape(-1)[: request.num_fake]
    if not np.isfinite(lengths).all():
        raise MetricError(f"{request.name}: {name_of(features)} gives NaN or Inf")
    return lengths


def _parts(a: torch.Tensor, b: torch.Tensor, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """A few pairs at a time, grey repeated to 3 channels."""
    a, b = (images.expand(-1, 3, -1, -1).split(batch) for images in (a, b))
    return zip(a, b, strict=True)
