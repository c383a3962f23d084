"""Numbers of several training runs together: against SciPy and by hand."""

import numpy as np
import pytest
import scipy.stats

from spine_ext.reproduction.gan_quality import (
    at_end,
    at_kimg,
    kimg_to_reach,
    reachable_fid,
    spread,
    welch_difference,
)
from spine_ext.reproduction.step_results import ImageMetrics, MetricSeries


def run(*points: tuple[float, float | None]) -> MetricSeries:
    """A run by its (kimg, FID)."""
    series = tuple(ImageMetrics(kimg, fid, None, None, None, None, None) for kimg, fid in points)
    return MetricSeries("spinegan", 0, "classifier", "", "", 10, 10, series)


class TestKimgToReach:
    def test_lies_straight_between_measurements(self) -> None:
        assert kimg_to_reach(run((0, 100), (10, 50), (20, 30)), 40) == pytest.approx(15)

    def test_is_the_first_time(self) -> None:
        assert kimg_to_reach(run((0, 100), (10, 20), (20, 60), (30, 20)), 60) == pytest.approx(5)

    def test_at_the_start_or_never(self) -> None:
        assert kimg_to_reach(run((4, 9), (8, 12)), 10) == 4
        assert kimg_to_reach(run((4, 50), (8, 40)), 10) is None

    def test_a_measurement_that_failed_is_passed_over(self) -> None:
        assert kimg_to_reach(run((0, 100), (5, None), (10, 50)), 75) == pytest.approx(5)


def test_every_run_reaches_the_reachable_fid() -> None:
    runs = [run((0, 90), (4, 20), (8, 25)), run((0, 95), (4, 40), (8, 31))]
    assert reachable_fid(runs) == 31
    assert all(kimg_to_reach(each, 31) is not None for each in runs)
    assert reachable_fid([run((0, None))]) is None
    assert reachable_fid([]) is None


def test_at_kimg_takes_the_measurement_there_or_none() -> None:
    runs = [run((4, 50), (8, 40)), run((4.05, 51), (8, 41)), run((8, 42))]
    assert [each.fid for each in at_kimg(runs, 4)] == [50, 51]
    assert [each.fid for each in at_end(runs)] == [40, 41, 42]


def test_spread_leaves_out_what_was_not_measured() -> None:
    found = spread([3.0, None, 5.0])
    assert (found.mean, found.low, found.high, found.values) == (4, 3, 5, (3, 5))
    assert spread([None]) is None


class TestWelchDifference:
    @pytest.mark.parametrize("seed", range(3))
    def test_is_scipys(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        a, b = random.normal(1, 1, 3), random.normal(0, 3, 4)
        found = welch_difference(a, b)
        expected = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert found.mean == pytest.approx(a.mean() - b.mean())

    @pytest.mark.parametrize(("a", "b"), [([1], [2, 3]), ([1, 1], [2, 2]), ([], [])])
    def test_without_a_spread_there_is_none(self, a: list, b: list) -> None:
        assert welch_difference(a, b) is None
