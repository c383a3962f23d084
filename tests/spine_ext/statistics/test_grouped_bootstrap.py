"""The bootstrap: its AUC against scikit-learn's, whole studies, and the spread that theory gives."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_ext.statistics.delong import auc_with_interval, compare_aucs
from spine_ext.statistics.grouped_bootstrap import (
    BootstrapInterval,
    draw_resamples,
    resampled_weights,
    weighted_auc,
)


@st.composite
def weighted_predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of both classes, scores with many ties, and weights that leave neither class empty."""
    labels = np.array(draw(st.permutations([0, 1, *draw(st.lists(st.integers(0, 1), max_size=14))])))
    scores = draw(st.lists(st.integers(-3, 3), min_size=len(labels), max_size=len(labels)))
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels))))
    weights[[labels.argmax(), labels.argmin()]] += 1
    return labels.astype(bool), np.array(scores, dtype=float), weights


class TestWeightedAucs:
    @settings(max_examples=200, deadline=None)
    @given(weighted_predictions())
    def test_is_the_auc_of_images_repeated_by_their_weights(
        self, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        positives, scores, weights = drawn
        expected = sklearn.metrics.roc_auc_score(np.repeat(positives, weights), np.repeat(scores, weights))
        assert weighted_auc(positives, scores, weights[None])[0] == pytest.approx(expected, abs=1e-12)

    @settings(max_examples=100, deadline=None)
    @given(weighted_predictions())
    def test_is_the_share_of_pairs_in_order(self, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        positives, scores, weights = drawn
        in_order = total = 0.0
        for i in np.flatnonzero(positives):
            for j in np.flatnonzero(~positives):
                pair = weights[i] * weights[j]
                in_order += pair * (scores[i] > scores[j]) + pair * 0.5 * (scores[i] == scores[j])
                total += pair
        assert weighted_auc(positives, scores, weights[None])[0] == pytest.approx(in_order / total, abs=1e-12)


def test_studies_are_drawn_whole_and_every_class_stays() -> None:
    rng = np.random.default_rng(1)
    classes, groups = rng.integers(0, 3, 60), rng.integers(0, 25, 60) * 7
    weights = resampled_weights(classes, groups, rng, 300)
    for group in np.unique(groups):
        assert (weights[:, groups == group] == weights[:, groups == group][:, :1]).all()
    for label in range(3):
        assert (weights[:, classes == label].sum(axis=1) > 0).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.35)


def test_studies_of_a_rare_mixture_of_classes_are_drawn_too() -> None:
    """Each mixture below is of one study, which a stratum of its own would put into every resample once."""
    studies = [[0]] * 4 + [[1]] * 4 + [[2]] * 3 + [[0, 1], [1, 2, 2], [0, 3]]
    classes, groups = np.concatenate(studies), np.repeat(np.arange(len(studies)), [len(one) for one in studies])
    weights = resampled_weights(classes, groups, np.random.default_rng(0), 500)
    drawn = np.stack([weights[:, groups == group][:, 0] for group in range(len(studies))], axis=1)
    assert (drawn.sum(axis=1) == len(studies)).all()
    assert drawn[:, :-1].std(axis=0).min() > 0.5
    assert (drawn[:, -1] == 1).all()  # no other has class 3


def test_resamples_are_the_same_every_time_and_others_for_another_seed() -> None:
    classes = np.arange(40) % 2
    first, again, other = (draw_resamples(classes, None, seed, 250).weights for seed in (3, 3, 4))
    assert first.shape == (250, 40)
    assert (first == again).all()
    assert (first != other).any()
    assert (first[:, classes == 1].sum(axis=1) == 20).all()  # each class keeps its size


def macro_auc_interval(classes: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None) -> BootstrapInterval:
    resamples = draw_resamples(classes, groups, seed=0)
    return resamples.interval(resamples.macro_aucs(probabilities))


def _scores(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    classes = np.arange(count) % 2
    probability = 1 / (1 + np.exp(-rng.normal(classes * 1.2, 1)))
    return classes, np.stack([1 - probability, probability], axis=1)


def test_without_studies_it_agrees_with_delong() -> None:
    classes, probabilities = _scores(400)
    found = macro_auc_interval(classes, probabilities, None)
    _, low, high = auc_with_interval(classes, probabilities[:, 1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert found.groups == 400


def test_images_that_stand_four_times_do_not_make_it_surer() -> None:
    """Each study being one image four times, the interval by study is that of the single images; DeLong's is half."""
    classes, probabilities = _scores(200)
    single = macro_auc_interval(classes, probabilities, None)
    repeated = macro_auc_interval(classes.repeat(4), probabilities.repeat(4, axis=0), np.arange(200).repeat(4))
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high), abs=1e-12)
    assert repeated.groups == 200
    _, low, high = auc_with_interval(classes.repeat(4), probabilities.repeat(4, axis=0)[:, 1])
    assert high - low == pytest.approx((single.high - single.low) / 2, rel=0.1)


def test_the_macro_mean_of_several_classes_lies_inside() -> None:
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 4, 300)
    logits = rng.normal(0, 1, (300, 4)) + np.eye(4)[classes]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    auc = sklearn.metrics.roc_auc_score(np.eye(4)[classes], probabilities)
    found = macro_auc_interval(classes, probabilities, rng.integers(0, 150, 300))
    assert found.low < auc < found.high
    assert 0.03 < found.high - found.low < 0.12


def test_a_paired_difference_agrees_with_delong() -> None:
    classes, probabilities = _scores(300)
    other = probabilities.copy()
    other[:40] = other[:40, ::-1]
    resamples = draw_resamples(classes, None, seed=0)
    found = resamples.interval(resamples.macro_aucs(probabilities) - resamples.macro_aucs(other))
    expected = compare_aucs(classes, probabilities[:, 1], other[:, 1])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


@pytest.mark.parametrize(
    ("classes", "groups", "expected"),
    [
        ([0, 1] * 10, None, 0.05 ** (1 / 10)),  # as delong.auc_with_interval
        ([0, 1] * 10, np.arange(20) // 2, 0.05 ** (1 / 5)),  # ten studies of both classes: five pairs
        ([0, 1, 2] * 8, np.tile([0, 1, 2], 8) + np.arange(24) // 6 * 3, (0.05 / 3) ** (1 / 4)),  # four of each class
        ([0, 1], [7, 7], 0.0),
    ],
)
def test_where_all_resamples_agree_the_studies_bound_it(
    classes: list[int], groups: np.ndarray | None, expected: float
) -> None:
    resamples = draw_resamples(np.array(classes), groups if groups is None else np.array(groups), seed=0)
    point = resamples.interval(resamples.macro_aucs(np.eye(max(classes) + 1)[classes]))
    assert (point.low, point.high) == (1, 1)
    found = resamples.doubted(point)
    assert (found.low, found.high) == (pytest.approx(expected), 1)
    wide = dataclasses.replace(point, low=0.5)
    assert resamples.doubted(wide) == wide
