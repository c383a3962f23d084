"""A map over worker processes: results in order, a bounded number in flight, and a crash costs one item.

Workers are spawned, not forked (forking a process that runs threads, as torch does, can deadlock), so `function`
and the items are pickled, and a script must start its work under `if __name__ == "__main__":`.
"""

import collections
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = Callable[[Sequence[Item]], list[Result]]

CHUNK = 8
CHUNKS_IN_FLIGHT_PER_WORKER = 3


class Crashed:
    """Stands for the result of an item that took its worker process down."""


def available_cores() -> int:
    """CPU cores this process may use, which a container can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Function, items: Iterable[Item], workers: int, chunk: int = CHUNK
) -> Iterator[Result | Crashed]:
    """Yields the result of each item, in the order of the items.

    Args:
        function: maps a list of items to the list of their results; a module-level function or a partial of one.
        items: taken as they are needed.
        workers: 1 works in this process, where a crash is not survived.
        chunk: items per call of `function`.
    Raises:
        RuntimeError: worker processes cannot start; and whatever `function` raises.
    """
    items = iter(items)
    chunks = iter(lambda: list(itertools.islice(items, chunk)), [])
    if workers == 1:
        for group in chunks:
            yield from function(group)
        return
    while True:
        in_flight: collections.deque[tuple[list[Item], Future]] = collections.deque()
        pool = _start(workers)
        try:
            yield from _pump(pool, function, chunks, in_flight, CHUNKS_IN_FLIGHT_PER_WORKER * workers)
            return
        except BrokenProcessPool:
            pass  # one of the chunks in flight did it; they are worked off one by one below
        finally:
            pool.shutdown(cancel_futures=True)
        for group, _ in in_flight:
            yield from _bisect_crash(function, group)


def _pump(
    pool: ProcessPoolExecutor,
    function: Function,
    chunks: Iterator[list[Item]],
    in_flight: collections.deque,
    limit: int,
) -> Iterator[Result]:
    """Keeps `limit` chunks in flight; a chunk stays in `in_flight` until its results are here."""
    for group in chunks:
        in_flight.append((group, None))  # noted first: submitting is what fails when the pool is broken
        in_flight[-1] = (group, pool.submit(function, group))
        if len(in_flight) == limit:
            yield from _take_first(in_flight)
    while in_flight:
        yield from _take_first(in_flight)


def _take_first(in_flight: collections.deque) -> list[Result]:
    results = in_flight[0][1].result()
    in_flight.popleft()
    return results


def _bisect_crash(function: Function, group: list[Item]) -> list[Result | Crashed]:
    """The results of a chunk in a process of its own; halves it until a crash belongs to one item."""
    pool = _start(1)
    try:
        return pool.submit(function, group).result()
    except BrokenProcessPool:
        pass
    finally:
        pool.shutdown()
    if len(group) == 1:
        return [Crashed()]
    middle = len(group) // 2
    return _bisect_crash(function, group[:middle]) + _bisect_crash(function, group[middle:])


def _start(workers: int) -> ProcessPoolExecutor:
    """A pool that has shown that its processes start at all."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_ignore_interrupt)
    try:
        pool.submit(int).result()
    except BrokenProcessPool as error:
        pool.shutdown()
        raise RuntimeError(
            "worker processes do not start: give workers=1, or call this under `if __name__ == '__main__':`"
        ) from error
    return pool


def _ignore_interrupt() -> None:
    """Ctrl-C is for the main process, which then stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
