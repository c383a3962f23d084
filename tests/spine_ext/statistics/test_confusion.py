"""Confusion at a threshold and Youden's threshold, against scikit-learn and trying every threshold."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_ext.statistics.confusion import Confusion, confusion_at, youden_threshold
from stylegan2ada.errors import UserError


class TestConfusionAt:
    def test_is_that_of_scikit_learn(self) -> None:
        random = np.random.default_rng(0)
        labels, scores = random.integers(0, 2, 80), random.random(80).round(1)
        found = confusion_at(labels, scores, 0.4)
        decided = scores >= 0.4
        (tn, fp), (fn, tp) = sklearn.metrics.confusion_matrix(labels, decided)
        assert found == Confusion(0.4, tp, fp, fn, tn)
        assert found.sensitivity == pytest.approx(sklearn.metrics.recall_score(labels, decided))
        assert found.specificity == pytest.approx(sklearn.metrics.recall_score(1 - labels, ~decided))
        assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, decided))
        precision = sklearn.metrics.precision_score
        assert found.positive_predictive_value == pytest.approx(precision(labels, decided))
        assert found.negative_predictive_value == pytest.approx(precision(1 - labels, ~decided))
        assert found.youden_index == pytest.approx(
            sklearn.metrics.balanced_accuracy_score(labels, decided, adjusted=True)
        )

    def test_a_value_of_no_decisions_is_none(self) -> None:
        assert confusion_at([0, 1], [0.1, 0.2], 0.3).positive_predictive_value is None
        assert confusion_at([0, 1], [0.1, 0.2], 0.1).negative_predictive_value is None

    def test_a_class_without_images_raises(self) -> None:
        with pytest.raises(UserError, match=r"images per class are \[2, 0\]: at least 1"):
            confusion_at([0, 0], [0.1, 0.2], 0.1)

    def test_nan_is_no_threshold(self) -> None:
        with pytest.raises(UserError, match="threshold is NaN"):
            confusion_at([0, 1], [0.1, 0.2], float("nan"))


class TestYoudenThreshold:
    def test_by_hand(self) -> None:
        assert youden_threshold([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 0.5

    def test_among_equals_is_the_highest(self) -> None:
        assert youden_threshold([0, 1, 0, 1], [1, 2, 3, 4]) == 4
        assert youden_threshold([0, 1], [0.7, 0.7]) == 0.7

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), max_size=30))
    def test_no_threshold_is_better(self, predictions: list[tuple[int, int]]) -> None:
        labels, scores = zip((0, 0), (1, 1), *predictions, strict=True)
        found = confusion_at(labels, scores, youden_threshold(labels, scores))
        assert found.threshold in scores
        for threshold in set(scores):
            other = confusion_at(labels, scores, threshold)
            assert other.youden_index < found.youden_index + 1e-12
            assert threshold <= found.threshold or other.youden_index < found.youden_index - 1e-12

    def test_a_class_without_images_raises(self) -> None:
        with pytest.raises(UserError, match="at least 1 of each class"):
            youden_threshold([1, 1], [0.1, 0.2])
