"""Order, bounded flight, errors and crashes of the map over processes."""

import functools
import os
from collections.abc import Sequence

import pytest

from spine_ext.process_pool import Crashed, map_in_order


def square_all(numbers: Sequence[int], crash_at: int = -1, fail_at: int = -1) -> list[int]:
    if crash_at in numbers:
        os._exit(1)  # what a segmentation fault looks like from outside
    if fail_at in numbers:
        raise ZeroDivisionError(f"of {fail_at}")
    return [number * number for number in numbers]


@pytest.mark.parametrize("workers", [1, 2])
def test_order(workers):
    assert list(map_in_order(square_all, range(50), workers, chunk=3)) == [n * n for n in range(50)]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_do(workers):
    assert list(map_in_order(square_all, [], workers)) == []


def test_items_are_taken_as_needed():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_in_order(square_all, items(), workers=2, chunk=2)
    assert next(results) == 0
    assert len(taken) <= 14
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_through(workers):
    with pytest.raises(ZeroDivisionError, match="of 5"):
        list(map_in_order(functools.partial(square_all, fail_at=5), range(20), workers, chunk=2))


def test_a_crash_costs_one_item():
    results = list(map_in_order(functools.partial(square_all, crash_at=7), range(12), workers=2, chunk=4))
    assert isinstance(results[7], Crashed)
    results[7] = 49
    assert results == [n * n for n in range(12)]
