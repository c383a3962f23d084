"""Distances between features and radii to the k-th nearest neighbor, block by block.

Balls of these radii stand for the manifold that the features come from (Kynkaanniemi et al. 2019, section 2).
Memory beyond the features: a few matrices of block x block and block x D in float64. Features may be float16 or
float32; what is computed with them is float64. Several processes share the blocks of rows; all get the results.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .shards import ALONE, Shards
from .sources import Progress

BLOCK = 2048
_MIN_BLOCKS_SHOWN = 4  # less is over in a moment

# Distances come from |x|^2 + |y|^2 - 2 x.y, whose rounding error stays below this part of |x|^2 + |y|^2 for some
# thousand dimensions. A point on a sphere must count as inside whichever way its distance was rounded, else
# duplicates, and results at another block size, would depend on chance.
ROUNDING = 1e-12


class DistanceBlock(NamedTuple):
    """Squared distances of a[rows] to b[columns] and a bound of their rounding error, both (m,n) float64."""

    rows: slice
    columns: slice
    squared: np.ndarray
    error: np.ndarray

    def inside(self, squared_radii: np.ndarray) -> np.ndarray:
        """Which distances are at most the radius, bool (m,n). squared_radii: (m,1) or (n,)."""
        return self.squared <= squared_radii + self.error


def distance_blocks(
    a: np.ndarray,
    b: np.ndarray,
    block: int = BLOCK,
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> Iterator[DistanceBlock]:
    """All distances between the rows of a (M,D) and those of b (N,D), each once, in one of the processes."""
    center = _center(b)
    for rows, x in _shared_blocks(a, center, block, shards, progress):
        for columns, y in _blocks(b, center, block):
            yield _distance_block(rows, columns, x, y)


def squared_radii(
    features: np.ndarray,
    k: int,
    block: int = BLOCK,
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> np.ndarray:
    """Squared distance of each row to the k-th nearest other row. features: (N,D), N > k, to float64 (N,).

    A row is no neighbor of itself; a duplicate of it is, at distance zero.
    """
    center = _center(features)
    nearest = np.full((len(features), k), np.inf)
    for rows, x in _shared_blocks(features, center, block, shards, progress):
        for columns, y in _blocks(features, center, block, first=rows.start):  # the others are known by symmetry
            squared = _distance_block(rows, columns, x, y).squared
            if rows == columns:
                np.fill_diagonal(squared, np.inf)
            else:
                nearest[columns] = _least(nearest[columns], squared.T)
            nearest[rows] = _least(nearest[rows], squared)
    parts = shards.gather(nearest)
    for part in parts[1:]:
        parts[0] = _least(parts[0], part)
    return parts[0].max(axis=1)


def in_any_process(mask: np.ndarray, shards: Shards) -> np.ndarray:
    """bool (N,): what is true in at least one process."""
    return np.any(shards.gather(mask), axis=0)


def _least(known: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Of each row the k least values of known (n,k) and more (n,m), in any order."""
    k = known.shape[1]
    return np.partition(np.concatenate([known, more], axis=1), k - 1, axis=1)[:, :k]


def _distance_block(rows: slice, columns: slice, x: np.ndarray, y: np.ndarray) -> DistanceBlock:
    norms = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    return DistanceBlock(rows, columns, np.maximum(norms - 2 * (x @ y.T), 0), norms * ROUNDING)


def _blocks(features: np.ndarray, center: np.ndarray, block: int, first: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(first, len(features), block):
        rows = slice(start, min(start + block, len(features)))
        yield rows, features[rows] - center


def _shared_blocks(
    features: np.ndarray, center: np.ndarray, block: int, shards: Shards, progress: Progress | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of this process: every world_size-th, since those of a triangle differ in their work."""
    total = -(-len(features) // block)
    advance = progress("nearest neighbors", "block") if progress and total >= _MIN_BLOCKS_SHOWN else None
    for number in range(shards.rank, total, shards.world_size):
        rows = slice(number * block, min((number + 1) * block, len(features)))
        yield rows, features[rows] - center
        if advance:
            advance(min(number + shards.world_size, total), total)


def _center(features: np.ndarray) -> np.ndarray:
    """The mean, float64 (D,). Distances from it are short, so that fewer digits cancel."""
    return features.mean(axis=0, dtype=np.float64)
