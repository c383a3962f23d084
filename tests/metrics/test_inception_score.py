"""Inception score against its formula with loops and the ends of its range."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.inception_score import inception_score


def slow_score(probabilities: np.ndarray) -> float:
    marginal = [sum(column) / len(probabilities) for column in probabilities.T]
    divergences = [sum(p * math.log(p / q) for p, q in zip(row, marginal, strict=True) if p) for row in probabilities]
    return math.exp(sum(divergences) / len(probabilities))


def random_probabilities(count: int, classes: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=count)


def test_equals_the_formula_for_each_split() -> None:
    probabilities = random_probabilities(60, 7, 0)
    scores = [slow_score(part) for part in np.split(probabilities, 4)]
    result = inception_score(probabilities, splits=4)
    assert result.mean == pytest.approx(np.mean(scores))
    assert result.std == pytest.approx(np.std(scores))
    assert result.std > 0


def test_a_remainder_is_spread_and_nothing_left_out() -> None:
    probabilities = random_probabilities(11, 3, 1)
    scores = [slow_score(probabilities[a:b]) for a, b in ((0, 3), (3, 7), (7, 11))]
    assert inception_score(probabilities, splits=3).mean == pytest.approx(np.mean(scores))


def test_certain_and_balanced_is_the_number_of_classes() -> None:
    assert inception_score(np.tile(np.eye(5), (20, 1))) == pytest.approx((5, 0))


def test_images_that_look_alike_score_one() -> None:
    assert inception_score(np.full((20, 4), 0.25)) == pytest.approx((1, 0))
    assert inception_score(np.tile([1.0, 0, 0], (20, 1))) == pytest.approx((1, 0))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 8))
def test_lies_between_one_and_the_number_of_classes(seed: int, count: int, classes: int) -> None:
    probabilities = random_probabilities(count, classes, seed)
    score = inception_score(probabilities, splits=1).mean
    assert 1 - 1e-9 <= score <= classes + 1e-9
    shuffled = np.random.default_rng(seed).permutation(probabilities)
    assert inception_score(shuffled, splits=1).mean == pytest.approx(score)


def test_float16_is_computed_in_float64() -> None:
    probabilities = random_probabilities(100, 50, 2).astype(np.float16)
    assert inception_score(probabilities) == inception_score(probabilities.astype(np.float64))


@pytest.mark.parametrize(
    ("probabilities", "splits", "message"),
    [
        (np.full((9, 2), 0.5), 10, "9 images are too few for 10 splits"),
        (np.full((9, 2), 0.5), 0, "splits must be at least 1, not 0"),
        (np.full(9, 1.0), 1, r"\(N,C\), not float64 \(9,\)"),
        (np.full((9, 2), np.nan), 1, "NaN or Inf"),
        (np.tile([1.5, -0.5], (9, 1)), 1, "must not be negative: -0.5"),
        (np.array([[0.5, 0.5], [3, 0]]), 1, "of image 1 sum to 3, not to 1"),
    ],
)
def test_unusable_probabilities_raise(probabilities: np.ndarray, splits: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inception_score(probabilities, splits)
