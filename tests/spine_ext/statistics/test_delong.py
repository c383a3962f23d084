"""Intervals and paired tests of AUCs, against scikit-learn, the formula written out, the bootstrap and simulation."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import norm

from spine_ext.statistics.delong import auc_with_interval, compare_aucs
from stylegan2ada.errors import UserError

Z_95 = norm.isf(0.025)


def outcomes(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """ψ (positives, negatives) of DeLong et al.: 1 where the positive scores higher, one half for a tie."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return (positive > negative) + 0.5 * (positive == negative)


def direct_covariance(labels: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """S of DeLong et al., equations 4 to 6, from all pairs."""
    psi = np.stack([outcomes(labels, each) for each in scores])
    s10, s01 = np.atleast_2d(np.cov(psi.mean(2))), np.atleast_2d(np.cov(psi.mean(1)))
    return s10 / psi.shape[1] + s01 / psi.shape[2]


def example(seed: int, count: int = 60, decimals: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the scores of two correlated classifiers, rounded so that there are ties."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) < count // 3).astype(int)
    shared = random.normal(size=count) + 0.8 * labels
    scores = [(shared + random.normal(size=count) + extra * labels).round(decimals) for extra in (0.7, 0.2)]
    return labels, *scores


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with both classes twice or more, and two lists of scores from few values: many ties and perfect AUCs."""
    labels = draw(st.permutations([0, 0, 1, 1, *draw(st.lists(st.integers(0, 1), max_size=12))]))
    scores = st.lists(st.integers(-3, 3), min_size=len(labels), max_size=len(labels))
    return np.array(labels), np.array(draw(scores)), np.array(draw(scores))


class TestAucWithInterval:
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_auc_of_scikit_learn_and_the_error_of_the_formula(self, seed: int) -> None:
        labels, scores, _ = example(seed)
        auc, low, high = auc_with_interval(labels, scores)
        assert auc == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores), abs=1e-12)
        reach = Z_95 * direct_covariance(labels, scores)[0, 0] ** 0.5 / (auc * (1 - auc))
        np.testing.assert_allclose(logit([low, high]), logit(auc) + np.array([-reach, reach]), rtol=1e-10)

    def test_has_the_error_of_the_bootstrap(self) -> None:
        labels, scores, _ = example(3, count=240, decimals=6)
        auc, low, high = auc_with_interval(labels, scores)
        random, psi = np.random.default_rng(0), outcomes(labels, scores)
        resampled = [psi[np.ix_(*(random.integers(size, size=size) for size in psi.shape))].mean() for _ in range(1000)]
        error = (logit(high) - logit(low)) / (2 * Z_95) * auc * (1 - auc)
        assert error == pytest.approx(np.std(resampled), rel=0.1)
        np.testing.assert_allclose([low, high], np.quantile(resampled, [0.025, 0.975]), atol=0.015)

    def test_covers_the_true_auc_as_often_as_it_says(self) -> None:
        random = np.random.default_rng(0)
        labels, shift = np.repeat([0, 1], 25), 2**0.5 * norm.isf(0.1)  # true AUC 0.9
        found = [auc_with_interval(labels, random.normal(size=50) + shift * labels)[1:] for _ in range(1500)]
        assert np.mean([low <= 0.9 <= high for low, high in found]) == pytest.approx(0.95, abs=0.02)

    def test_a_perfect_classifier_is_not_certain(self) -> None:
        labels = np.repeat([0, 1], [10, 30])
        assert auc_with_interval(labels, labels) == (1, pytest.approx(0.05**0.1), 1)
        assert auc_with_interval(labels, -labels) == (0, 0, pytest.approx(1 - 0.05**0.1))

    def test_nor_is_a_constant_one(self) -> None:
        half = 0.05**0.1 / 2
        found = auc_with_interval(np.repeat([0, 1], [10, 30]), np.full(40, 0.7))
        assert found == (0.5, pytest.approx(half), pytest.approx(1 - half))

    @settings(max_examples=150, deadline=None)
    @given(predictions())
    def test_orders_mirrors_and_narrows(self, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        labels, scores, _ = drawn
        auc, low, high = auc_with_interval(labels, scores)
        assert auc == pytest.approx(outcomes(labels, scores).mean(), abs=1e-12)
        assert 0 <= low <= auc <= high <= 1
        assert low < high
        assert auc_with_interval(labels, np.exp(scores)) == (auc, low, high)  # the order alone counts
        for mirrored in (auc_with_interval(labels, -scores), auc_with_interval(1 - labels, scores)):
            np.testing.assert_allclose(mirrored, (1 - auc, 1 - high, 1 - low), atol=1e-12)
        _, low_80, high_80 = auc_with_interval(labels, scores, 0.8)
        assert low <= low_80 <= auc <= high_80 <= high
        assert high_80 - low_80 < high - low

    @pytest.mark.parametrize(
        ("labels", "scores", "message"),
        [
            ([1, 1, 1], [0.1, 0.2, 0.3], r"images per class are \[0, 3\]: at least 2"),
            ([0, 0, 1], [0.1, 0.2, 0.3], r"images per class are \[2, 1\]: at least 2"),
            ([0, 0, 2, 1], [1, 2, 3, 4], "a label is 2"),
            ([0, 0, 1, 1], [1, 2, 3, np.nan], "score of image 3 is nan"),
            ([0, 0, 1, 1], [1, 2, 3], r"shape \(4,\) and scores of shape \(3,\)"),
            (np.eye(2), np.eye(2), "one label and one score per image"),
            ([], [], "no predictions"),
        ],
    )
    def test_what_has_no_interval_raises(self, labels: list, scores: list, message: str) -> None:
        with pytest.raises(UserError, match=message):
            auc_with_interval(labels, scores)

    @pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
    def test_a_confidence_outside_0_and_1_raises(self, confidence: float) -> None:
        with pytest.raises(UserError, match="the confidence is"):
            auc_with_interval([0, 0, 1, 1], [1, 2, 3, 4], confidence)


class TestCompareAucs:
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_formula(self, seed: int) -> None:
        labels, a, b = example(seed)
        found = compare_aucs(labels, a, b, confidence=0.9)
        contrast = np.array([1, -1])
        error = (contrast @ direct_covariance(labels, a, b) @ contrast) ** 0.5
        difference = outcomes(labels, a).mean() - outcomes(labels, b).mean()
        expected = [
            difference,
            difference - norm.isf(0.05) * error,
            difference + norm.isf(0.05) * error,
            difference / error,
            2 * norm.sf(abs(difference) / error),
        ]
        np.testing.assert_allclose(dataclasses.astuple(found), expected, rtol=1e-9)

    def test_has_the_error_of_the_paired_bootstrap(self) -> None:
        labels, a, b = example(4, count=240, decimals=6)
        found = compare_aucs(labels, a, b)
        random, psi = np.random.default_rng(0), outcomes(labels, a) - outcomes(labels, b)
        resampled = [psi[np.ix_(*(random.integers(size, size=size) for size in psi.shape))].mean() for _ in range(1000)]
        assert found.difference / found.z == pytest.approx(np.std(resampled), rel=0.1)
        np.testing.assert_allclose([found.low, found.high], np.quantile(resampled, [0.025, 0.975]), atol=0.015)

    def test_rejects_equal_classifiers_as_often_as_it_says(self) -> None:
        random = np.random.default_rng(1)
        labels = np.repeat([0, 1], 40)
        shared = random.normal(size=(1500, 1, 80)) + 1.2 * labels
        p = [compare_aucs(labels, *pair).p for pair in shared + random.normal(size=(1500, 2, 80))]
        assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)

    def test_the_same_scores_have_no_difference_but_are_not_proved_equal(self) -> None:
        labels, scores, _ = example(0)
        found = compare_aucs(labels, scores, 2 * scores + 1)
        reach = pytest.approx(1 - 0.05 ** (1 / 20))
        assert (found.difference, found.z, found.p, -found.low, found.high) == (0, 0, 1, reach, reach)

    def test_a_difference_without_variance_keeps_to_a_bound(self) -> None:
        labels = np.repeat([0, 1], 40)
        found = compare_aucs(labels, labels, np.zeros(80))
        assert found.difference == 0.5
        assert found.p == pytest.approx(2 * np.exp(-5))
        assert 0 < found.low < 0.5 < found.high <= 1
        assert 2 * norm.sf(found.z) == pytest.approx(found.p)
        assert compare_aucs(labels, np.zeros(80), labels).z == -found.z

    @settings(max_examples=150, deadline=None)
    @given(predictions())
    def test_is_antisymmetric_and_its_p_agrees_with_its_interval(
        self, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        labels, a, b = drawn
        found, swapped = compare_aucs(labels, a, b), compare_aucs(labels, b, a)
        assert found.difference == pytest.approx(outcomes(labels, a).mean() - outcomes(labels, b).mean(), abs=1e-12)
        assert -1 <= found.low <= found.difference <= found.high <= 1
        expected = (-swapped.difference, -swapped.high, -swapped.low, -swapped.z, swapped.p)
        np.testing.assert_allclose(dataclasses.astuple(found), expected, atol=1e-12)
        assume(abs(found.p - 0.05) > 1e-6)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)

    @settings(max_examples=150, deadline=None)
    @given(predictions())
    def test_no_variance_and_no_difference_means_every_pair_has_the_same_outcome(
        self, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        labels, a, b = drawn
        same_order = np.array_equal(outcomes(labels, a), outcomes(labels, b))
        found = compare_aucs(labels, a, b)
        reach = 1 - 0.05 ** (1 / min(labels.sum(), (1 - labels).sum()))
        assert same_order == (found.p == 1 and found.high == pytest.approx(reach, abs=1e-12))

    def test_wrong_scores_of_the_second_raise_too(self) -> None:
        with pytest.raises(UserError, match="score of image 0 is inf"):
            compare_aucs([0, 0, 1, 1], [1, 2, 3, 4], [np.inf, 2, 3, 4])
