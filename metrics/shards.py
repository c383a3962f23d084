"""Several processes that measure together, as this package sees them."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from .errors import MetricError


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


@contextlib.contextmanager
def failing_together(shards: Shards) -> Iterator[None]:
    """An error inside, in whatever process, is raised in all: nobody waits for one who is gone.

    Nothing may be gathered inside.
    """
    try:
        yield
    except Exception as error:
        _told(str(error) or type(error).__name__, shards)
        raise
    reasons = [reason for reason in _told("", shards) if reason]
    if reasons:
        raise MetricError(reasons[0])


def _told(reason: str, shards: Shards) -> list[str]:
    """What every process says."""
    return [bytes(said).decode() for said in shards.gather(np.frombuffer(reason.encode(), dtype=np.uint8))]
