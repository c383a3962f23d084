"""The bootstrap: its AUC against scikit-learn's, whole studies, and the spread that theory gives."""

import numpy as np
import pytest
import sklearn.metrics

from spine_ext.statistics.delong import auc_with_interval, compare_aucs
from spine_ext.statistics.grouped_bootstrap import (
    macro_auc_difference,
    macro_auc_interval,
    resampled_weights,
    weighted_auc,
)


def test_weighted_aucs_equal_those_of_scikit_learn_on_repeated_images() -> None:
    rng = np.random.default_rng(0)
    positives, scores = rng.random(40) < 0.4, rng.integers(0, 8, 40) / 8  # ties
    weights = rng.integers(0, 4, (7, 40))
    repeated = [
        sklearn.metrics.roc_auc_score(np.repeat(positives, times), np.repeat(scores, times)) for times in weights
    ]
    np.testing.assert_allclose(weighted_auc(positives, scores, weights), repeated, rtol=1e-12)


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


def _scores(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    classes = np.arange(count) % 2
    probability = 1 / (1 + np.exp(-rng.normal(classes * 1.2, 1)))
    return classes, np.stack([1 - probability, probability], axis=1)


def test_without_studies_it_agrees_with_delong() -> None:
    classes, probabilities = _scores(400)
    found = macro_auc_interval(classes, probabilities, None, seed=0)
    _, low, high = auc_with_interval(classes, probabilities[:, 1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert found.groups == 400


def test_images_that_stand_four_times_do_not_make_it_surer() -> None:
    """Each study being one image four times, the interval by study is that of the single images; DeLong's is half."""
    classes, probabilities = _scores(200)
    single = macro_auc_interval(classes, probabilities, None, seed=0)
    repeated = macro_auc_interval(classes.repeat(4), probabilities.repeat(4, axis=0), np.arange(200).repeat(4), seed=0)
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
    found = macro_auc_interval(classes, probabilities, rng.integers(0, 150, 300), seed=0)
    assert found.low < auc < found.high
    assert 0.03 < found.high - found.low < 0.12


def test_a_paired_difference_agrees_with_delong() -> None:
    classes, probabilities = _scores(300)
    other = probabilities.copy()
    other[:40] = other[:40, ::-1]
    same = macro_auc_difference(classes, probabilities, probabilities, None, seed=0)
    assert (same.low, same.high) == (0, 0)
    found = macro_auc_difference(classes, probabilities, other, None, seed=0)
    expected = compare_aucs(classes, probabilities[:, 1], other[:, 1])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)
