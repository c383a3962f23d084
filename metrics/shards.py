"""Several processes that measure together, as this package sees them."""

from typing import Protocol

import numpy as np


class Shards(Protocol):
    """Every process calls the same methods in the same order."""

    rank: int
    world_size: int

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays of all processes, by rank, in all of them. They may differ in their number of rows alone."""


class _Alone:
    """One process by itself."""

    rank = 0
    world_size = 1

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        return [array]


ALONE: Shards = _Alone()
