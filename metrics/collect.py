"""Features of the first images of a source, by one or several detectors in one pass, shared over processes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from .errors import MetricError
from .features import Detector, name_of, three_channels
from .shards import ALONE, Shards, failing_together
from .sources import CHUNK_SIZE, ImageSource, Progress

ROWS_AT_ONCE = 4096


class FeatureSet(NamedTuple):
    """values: float32 (N,D), row i of image i. classes: int64 (N,), of the same images."""

    values: np.ndarray
    classes: np.ndarray

    def first(self, count: int | None) -> "FeatureSet":
        return FeatureSet(self.values[:count], self.classes[:count])

    def of_class(self, index: int) -> np.ndarray:
        return self.values[self.classes == index]


class Wanted(NamedTuple):
    """Features of the first `count` images by `detector`."""

    detector: Detector
    count: int


@torch.no_grad()
def collect(
    source: ImageSource,
    wanted: Sequence[Wanted],
    *,
    batch: int = CHUNK_SIZE,
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> list[FeatureSet]:
    """One set for each of `wanted`, the same in all processes; every image is made once, by one process.

    batch: images that a detector is given at a time, 64 at most. Images and their order do not depend on it; features
    do so far as the detector rounds otherwise in another batch.

    Raises:
        MetricError: the source has too few images, or features are unusable (NaN; not (N,D)).
    """
    if not wanted:
        return []
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    most = max(want.count for want in wanted)
    if source.num_images is not None and source.num_images < most:
        raise MetricError(f"{source.name} has {source.num_images} images, {most} are asked for")
    parts = [_Part(want, shards) for want in wanted]
    num_chunks = -(-most // CHUNK_SIZE)
    # A process without a chunk looks at the first, to know the number of features, and keeps nothing of it.
    indices = range(shards.rank, num_chunks, shards.world_size) or range(1)
    advance = progress(source.name, "image") if progress else None
    with failing_together(shards):
        for done, index in enumerate(indices, start=1):
            pixels, classes = source.chunk(index)
            pixels, classes = three_channels(pixels), classes.cpu().numpy()
            for part in parts:
                part.add(index, pixels, classes, batch)
            if advance:
                advance(min(done * shards.world_size * CHUNK_SIZE, most), most)
        for part in parts:
            part.check_complete(source.name)
    return [part.gathered(source.name) for part in parts]


class _Part:
    """What this process has of one set: the rows of chunks rank, rank + world_size, ..."""

    def __init__(self, want: Wanted, shards: Shards):
        self.detector, self.count = want
        self._shards = shards
        self._rows = _rows_of(shards.rank, shards.world_size, self.count)
        self._values: np.ndarray | None = None
        self._classes = np.zeros(len(self._rows), dtype=np.int64)
        self._filled = 0

    def add(self, index: int, pixels: torch.Tensor, classes: np.ndarray, batch: int) -> None:
        rows = min(self.count - index * CHUNK_SIZE, len(pixels), len(self._rows) - self._filled)
        if rows <= 0:
            if self._values is None:  # to know the number of features
                self._values = np.empty((0, self._look_at(pixels[:1]).shape[1]), dtype=np.float32)
            return
        self._classes[self._filled : self._filled + rows] = classes[:rows]
        for some in pixels[:rows].split(batch):
            features = self._look_at(some)
            if self._values is None:
                self._values = np.empty((len(self._rows), features.shape[1]), dtype=np.float32)
            self._values[self._filled : self._filled + len(some)] = features
            self._filled += len(some)

    def _look_at(self, pixels: torch.Tensor) -> np.ndarray:
        features = self.detector(pixels)
        if features.ndim != 2 or len(features) != len(pixels):
            found = f"{tuple(features.shape)} for {len(pixels)} images"
            raise MetricError(f"the detector {name_of(self.detector)} gives features of shape {found}, not (N,D)")
        return features.float().cpu().numpy()

    def check_complete(self, source_name: str) -> None:
        if self._filled != len(self._rows):
            raise MetricError(f"{source_name} says it has more images than its chunks hold")

    def gathered(self, source_name: str) -> FeatureSet:
        if self._shards.world_size == 1:
            values, classes = self._values, self._classes
        else:
            values = np.empty((self.count, self._values.shape[1]), dtype=np.float32)
            classes = np.empty(self.count, dtype=np.int64)
            for whole, ours in ((values, self._values), (classes, self._classes)):
                for rank, theirs in enumerate(self._shards.gather(ours)):
                    whole[_rows_of(rank, self._shards.world_size, self.count)] = theirs
        _check_finite(values, source_name, self.detector)
        return FeatureSet(values, classes)


def _rows_of(rank: int, world_size: int, count: int) -> np.ndarray:
    """Numbers of the images in the chunks of one process."""
    rows = np.arange(count)
    return rows[rows // CHUNK_SIZE % world_size == rank]


def _check_finite(values: np.ndarray, source_name: str, detector: Detector) -> None:
    for start in range(0, len(values), ROWS_AT_ONCE):
        bad = ~np.isfinite(values[start : start + ROWS_AT_ONCE]).all(axis=1)
        if bad.any():
            image = start + int(bad.argmax())
            raise MetricError(f"{name_of(detector)} gives NaN or Inf for image {image} of {source_name}")
