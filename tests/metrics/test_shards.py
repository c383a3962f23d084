"""Processes that measure together fail together."""

import pytest

from metrics.errors import MetricError
from metrics.shards import ALONE, failing_together
from tests.metrics.toy_sources import in_threads


def test_an_error_in_one_ends_all_for_its_reason():
    def work(shards):
        try:
            with failing_together(shards):
                if shards.rank == 1:
                    raise OSError("the disk is gone")
        except (OSError, MetricError) as error:
            return str(error)

    assert in_threads(3, work) == ["the disk is gone"] * 3


def test_alone_and_without_errors_nothing_happens():
    with failing_together(ALONE):
        pass
    with pytest.raises(OSError, match="gone"), failing_together(ALONE):
        raise OSError("gone")


def test_without_errors_all_go_on():
    def work(shards):
        with failing_together(shards):
            found = shards.rank
        return found

    assert in_threads(2, work) == [0, 1]
