"""Distances between features and radii to the k-th nearest neighbor, block by block.

Balls of these radii stand for the manifold that the features come from (Kynkaanniemi et al. 2019, section 2).
Memory beyond the features: a few matrices of block x block and block x D in float64. Features may be float16 or
float32; what is computed with them is float64, on a GPU where one is given. Several processes share the blocks of
rows; all get the results.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

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
    squared: torch.Tensor
    error: torch.Tensor

    def inside(self, squared_radii: torch.Tensor) -> torch.Tensor:
        """Which distances are at most the radius, bool (m,n). squared_radii: (m,1) or (n,)."""
        return self.squared <= squared_radii + self.error


def distance_blocks(
    a: np.ndarray,
    b: np.ndarray,
    block: int = BLOCK,
    device: torch.device | str = "cpu",
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> Iterator[DistanceBlock]:
    """All distances between the rows of a (M,D) and those of b (N,D), each once, in one of the processes."""
    center = _center(b)
    for rows in _shared_blocks(len(a), block, shards, progress):
        x = _centered(a[rows], center, device)
        for columns in _blocks(len(b), block):
            yield _distance_block(rows, columns, x, _centered(b[columns], center, device))


def squared_radii(
    features: np.ndarray,
    k: int,
    block: int = BLOCK,
    device: torch.device | str = "cpu",
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Squared distance of each row to the k-th nearest other row. features: (N,D), N > k, to float64 (N,).

    A row is no neighbor of itself; a duplicate of it is, at distance zero.
    """
    center = _center(features)
    nearest = torch.full((len(features), k), torch.inf, dtype=torch.float64, device=device)
    for rows in _shared_blocks(len(features), block, shards, progress):
        x = _centered(features[rows], center, device)
        for columns in _blocks(len(features), block, first=rows.start):  # the others are known by symmetry
            y = x if columns == rows else _centered(features[columns], center, device)
            squared = _distance_block(rows, columns, x, y).squared
            if columns == rows:
                squared.fill_diagonal_(torch.inf)
            else:
                nearest[columns] = _least(nearest[columns], squared.T)
            nearest[rows] = _least(nearest[rows], squared)
    first, *others = shards.gather(nearest.cpu().numpy())
    nearest = torch.from_numpy(first).to(device)
    for other in others:
        nearest = _least(nearest, torch.from_numpy(other).to(device))
    return nearest.max(dim=1).values


def in_any_process(mask: torch.Tensor, shards: Shards) -> np.ndarray:
    """bool (N,): what is true in at least one process."""
    return np.any(shards.gather(mask.cpu().numpy()), axis=0)


def _least(known: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """Of each row the k least values of known (n,k) and more (n,m), in any order."""
    k = known.shape[1]
    some = more.topk(min(k, more.shape[1]), dim=1, largest=False, sorted=False).values
    return torch.cat([known, some], dim=1).topk(k, dim=1, largest=False, sorted=False).values


def _distance_block(rows: slice, columns: slice, x: torch.Tensor, y: torch.Tensor) -> DistanceBlock:
    norms = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return DistanceBlock(rows, columns, (norms - 2 * (x @ y.T)).clamp_(min=0), norms * ROUNDING)


def _blocks(count: int, block: int, first: int = 0) -> Iterator[slice]:
    for start in range(first, count, block):
        yield slice(start, min(start + block, count))


def _shared_blocks(count: int, block: int, shards: Shards, progress: Progress | None) -> Iterator[slice]:
    """Blocks of this process: every world_size-th, since those of a triangle differ in their work."""
    blocks = list(_blocks(count, block))
    advance = progress("nearest neighbors", "block") if progress and len(blocks) >= _MIN_BLOCKS_SHOWN else None
    for number in range(shards.rank, len(blocks), shards.world_size):
        yield blocks[number]
        if advance:
            advance(min(number + shards.world_size, len(blocks)), len(blocks))


def _centered(features: np.ndarray, center: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """float64 on the device."""
    return torch.from_numpy(np.subtract(features, center, dtype=np.float64)).to(device)


def _center(features: np.ndarray) -> np.ndarray:
    """The mean, float64 (D,). Distances from it are short, so that fewer digits cancel."""
    return features.mean(axis=0, dtype=np.float64)
