"""Reliability curve, expected calibration error and Brier score, against counting by hand and scikit-learn."""

import dataclasses

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_ext.statistics.calibration import brier_score, expected_calibration_error, reliability_curve
from stylegan2ada.errors import UserError

PREDICTIONS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


class TestReliabilityCurve:
    def test_counts_by_hand(self) -> None:
        found = reliability_curve([0, 1, 1, 0, 1], [0.0, 0.3, 0.3, 0.39, 1.0])
        expected = [(0, 0.1, 1, 0, 0), (0.3, 0.4, 3, 0.33, 2 / 3), (0.9, 1, 1, 1, 1)]
        np.testing.assert_allclose([dataclasses.astuple(each) for each in found], expected)

    def test_every_tenth_opens_its_bin(self) -> None:
        tenths = [index / 10 for index in range(10)]
        assert [each.low for each in reliability_curve([0] * 10, tenths)] == tenths

    def test_is_the_curve_of_scikit_learn(self) -> None:
        random = np.random.default_rng(0)
        probabilities = random.random(200)
        labels = random.random(200) < probabilities
        curve = reliability_curve(labels, probabilities, bins=7)
        shares, means = sklearn.calibration.calibration_curve(labels, probabilities, n_bins=7)
        np.testing.assert_allclose([each.positive_share for each in curve], shares)
        np.testing.assert_allclose([each.mean_probability for each in curve], means)

    @settings(max_examples=100, deadline=None)
    @given(PREDICTIONS, st.integers(1, 15))
    def test_holds_every_image_once_in_its_bin(self, predictions: list[tuple[int, float]], bins: int) -> None:
        labels, probabilities = zip(*predictions, strict=True)
        curve = reliability_curve(labels, probabilities, bins)
        assert sum(each.count for each in curve) == len(labels)
        assert sum(each.count * each.positive_share for each in curve) == pytest.approx(sum(labels))
        for each in curve:
            inside = [p for p in probabilities if each.low <= p < each.high or p == each.high == 1]
            assert each.count == len(inside) > 0
            assert each.mean_probability == pytest.approx(np.mean(inside))

    @pytest.mark.parametrize("probability", [-0.01, 1.5])
    def test_what_is_no_probability_raises(self, probability: float) -> None:
        with pytest.raises(UserError, match=f"probability of image 1 is {probability}"):
            reliability_curve([0, 1], [0.5, probability])

    def test_no_bins_raise(self) -> None:
        with pytest.raises(UserError, match="number of bins is 0"):
            reliability_curve([0, 1], [0.5, 0.5], bins=0)


class TestExpectedCalibrationError:
    def test_by_hand(self) -> None:
        found = expected_calibration_error([0, 1, 1, 0, 1], [0.0, 0.3, 0.3, 0.39, 1.0])
        assert found == pytest.approx(3 / 5 * (2 / 3 - 0.33))

    def test_shrinks_for_true_probabilities_and_not_for_overconfident_ones(self) -> None:
        random = np.random.default_rng(0)
        true = random.uniform(0.3, 0.7, 20_000)
        labels = random.random(20_000) < true
        assert expected_calibration_error(labels, true) < 0.02
        assert expected_calibration_error(labels, true > 0.5) == pytest.approx(0.4, abs=0.02)

    @settings(max_examples=100, deadline=None)
    @given(PREDICTIONS)
    def test_in_one_bin_is_the_error_of_the_prevalence(self, predictions: list[tuple[int, float]]) -> None:
        labels, probabilities = zip(*predictions, strict=True)
        of_means = abs(np.mean(labels) - np.mean(probabilities))
        assert expected_calibration_error(labels, probabilities, bins=1) == pytest.approx(of_means, abs=1e-12)
        assert of_means - 1e-12 <= expected_calibration_error(labels, probabilities) <= 1


class TestBrierScore:
    def test_is_that_of_scikit_learn(self) -> None:
        random = np.random.default_rng(0)
        labels, probabilities = random.integers(0, 2, 50), random.random(50)
        assert brier_score(labels, probabilities) == pytest.approx(
            sklearn.metrics.brier_score_loss(labels, probabilities)
        )

    def test_of_certainty_and_of_ignorance(self) -> None:
        labels = np.array([0, 1, 1])
        assert brier_score(labels, labels) == 0
        assert brier_score(labels, 1 - labels) == 1
        assert brier_score(labels, [0.5] * 3) == 0.25

    def test_logits_raise(self) -> None:
        with pytest.raises(UserError, match=r"probabilities lie in \[0, 1\]"):
            brier_score([0, 1], [-2.0, 3.0])
