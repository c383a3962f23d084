"""AUCs over seeds and their intervals, against slow ways to the same numbers, DeLong, and simulation."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_ext.reproduction.seeded_auc import (
    SeededAuc,
    difference,
    estimate,
    resampled_test_set,
    seeded_auc,
    weighted_aucs,
)
from spine_ext.statistics.delong import auc_with_interval, compare_aucs
from stylegan2ada.errors import UserError


def example(seed: int, count: int = 120, d_prime: float = 1.2) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Labels, and scores of three seeds that share half of their errors."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    shared = random.normal(size=count)
    return labels, {run: d_prime * labels + shared + random.normal(size=count) for run in range(3)}


@st.composite
def weighted_predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of both classes, scores with many ties, and weights that leave neither class empty."""
    labels = np.array(draw(st.permutations([0, 1, *draw(st.lists(st.integers(0, 1), max_size=14))])))
    scores = draw(st.lists(st.integers(-3, 3), min_size=len(labels), max_size=len(labels)))
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels))))
    weights[[labels.argmax(), labels.argmin()]] += 1
    return labels.astype(bool), np.array(scores, dtype=float), weights.astype(float)


class TestWeightedAucs:
    @settings(max_examples=200, deadline=None)
    @given(weighted_predictions())
    def test_is_the_auc_of_images_repeated_by_their_weights(
        self, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        positives, scores, weights = drawn
        times = weights.astype(int)
        expected = sklearn.metrics.roc_auc_score(np.repeat(positives, times), np.repeat(scores, times))
        assert weighted_aucs(positives, scores, weights[None])[0] == pytest.approx(expected, abs=1e-12)

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
        assert weighted_aucs(positives, scores, weights[None])[0] == pytest.approx(in_order / total, abs=1e-12)


class TestResampledTestSet:
    def test_keeps_the_size_of_each_class(self) -> None:
        test = resampled_test_set([0] * 30 + [1] * 12, resamples=200)
        assert (test.weights[:, :30].sum(axis=1) == 30).all()
        assert (test.weights[:, 30:].sum(axis=1) == 12).all()
        assert test.weights.mean(axis=0) == pytest.approx(np.ones(42), abs=0.4)

    def test_images_of_a_group_are_drawn_together_and_both_classes_stay(self) -> None:
        labels = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 1])
        groups = np.array(["a", "a", "b", "c", "c", "d", "e", "e", "f", "f"])
        test = resampled_test_set(labels, groups, resamples=300)
        for group in "acef":
            first, second = test.weights[:, groups == group].T
            assert (first == second).all()
        assert (test.weights[:, labels == 0].sum(axis=1) > 0).all()
        assert (test.weights[:, labels == 1].sum(axis=1) > 0).all()
        assert (test.weights[:, 6] + test.weights[:, 8] == 2).all()  # the two mixed groups are a stratum

    def test_is_the_same_every_time_and_another_for_another_seed(self) -> None:
        labels = np.arange(40) % 2
        first, again, other = (resampled_test_set(labels, resamples=50, seed=seed).weights for seed in (3, 3, 4))
        assert (first == again).all()
        assert (first != other).any()

    @pytest.mark.parametrize(
        ("labels", "groups", "message"),
        [([1, 1], None, r"images per class are \[0, 2\]"), ([0, 1], ["a"], "1 groups for 2"), ([0, 3], None, "is 3")],
    )
    def test_what_cannot_be_resampled_raises(self, labels: list, groups: list | None, message: str) -> None:
        with pytest.raises(UserError, match=message):
            resampled_test_set(labels, groups)


class TestEstimate:
    @pytest.mark.parametrize("seed", range(3))
    def test_one_seed_without_groups_has_about_delongs_interval(self, seed: int) -> None:
        labels, scores = example(seed, count=400)
        found = estimate(seeded_auc(resampled_test_set(labels), {0: scores[0]}))
        auc, low, high = auc_with_interval(labels, scores[0])
        assert found.mean == pytest.approx(auc, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
        assert (found.sd, found.seeds) == (None, 1)

    @pytest.mark.parametrize("seed", range(3))
    def test_a_difference_of_one_seed_has_about_delongs_interval(self, seed: int) -> None:
        labels, scores = example(seed, count=400)
        test = resampled_test_set(labels)
        found = estimate(difference(seeded_auc(test, {0: scores[0]}), seeded_auc(test, {0: scores[1]})))
        expected = compare_aucs(labels, scores[0], scores[1])
        assert found.mean == pytest.approx(expected.difference, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)

    def test_mean_and_spread_are_those_of_the_seeds(self) -> None:
        labels, scores = example(0)
        found = estimate(seeded_auc(resampled_test_set(labels), scores))
        aucs = [sklearn.metrics.roc_auc_score(labels, each) for each in scores.values()]
        assert found.mean == pytest.approx(np.mean(aucs), abs=1e-12)
        assert found.sd == pytest.approx(np.std(aucs, ddof=1), abs=1e-12)
        assert found.low < found.mean < found.high

    def test_is_both_variances_written_out(self) -> None:
        """Images drawn one resample at a time; t of as many degrees of freedom as Satterthwaite gives."""
        labels, scores = example(1, count=80)
        in_order = [each[labels == 1][:, None] > each[labels == 0] for each in scores.values()]
        random, means = np.random.default_rng(5), []
        for _ in range(1500):
            drawn = np.ix_(random.integers(40, size=40), random.integers(40, size=40))
            means.append(np.mean([pairs[drawn].mean() for pairs in in_order]))
        aucs = [pairs.mean() for pairs in in_order]
        of_tests, of_seeds = np.var(means, ddof=1), np.var(aucs, ddof=1) / 3
        freedom = (of_tests + of_seeds) ** 2 / (of_seeds**2 / 2)
        reach = scipy.stats.t.ppf(0.975, freedom) * (of_tests + of_seeds) ** 0.5
        found = estimate(seeded_auc(resampled_test_set(labels), scores))
        assert (found.low, found.high) == pytest.approx((np.mean(aucs) - reach, np.mean(aucs) + reach), abs=0.006)

    @pytest.mark.parametrize(("seeds", "spread", "least"), [(2, 0.5, 0.93), (2, 3.0, 0.85), (3, 3.0, 0.9)])
    def test_few_seeds_that_spread_are_not_trusted(self, seeds: int, spread: float, least: float) -> None:
        """Differences whose truth is 0; `spread`: standard deviation between seeds in that between test sets."""
        random, hits, sd = np.random.default_rng(0), 0, 0.01
        for _ in range(1000):
            of_seeds, of_test = random.normal(0, spread * sd, seeds), random.normal(0, sd)
            aucs = of_seeds + of_test
            resampled = aucs[:, None] + random.normal(0, sd, 200)
            hits += estimate(SeededAuc(tuple(range(seeds)), aucs, resampled)).includes_zero
        assert least <= hits / 1000 <= 0.98

    def test_seeds_that_spread_widen_the_interval(self) -> None:
        labels, scores = example(2)
        test = resampled_test_set(labels)
        alike = estimate(seeded_auc(test, dict.fromkeys(range(3), scores[0])))
        apart = {seed: scores[0] + shift * labels for seed, shift in enumerate((-0.6, 0.0, 0.6))}
        spread = estimate(seeded_auc(test, apart))
        assert spread.high - spread.low > 1.3 * (alike.high - alike.low)

    def test_images_of_one_patient_widen_the_interval(self) -> None:
        random = np.random.default_rng(0)
        labels, groups = np.repeat([0, 1], 100), np.repeat(np.arange(50), 4)
        scores = np.repeat(random.normal(size=50), 4) + 1.2 * labels + 0.1 * random.normal(size=200)
        alone, grouped = (
            estimate(seeded_auc(resampled_test_set(labels, each), {0: scores})) for each in (None, groups)
        )
        assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)

    def test_a_perfect_classifier_is_not_certain(self) -> None:
        labels = np.arange(40) % 2
        found = estimate(seeded_auc(resampled_test_set(labels), {0: labels * 1.0, 1: labels * 2.0}))
        assert (found.mean, found.high) == (1, 1)
        assert found.low == pytest.approx(0.05 ** (1 / 20))

    def test_differences_use_the_seeds_that_both_have(self) -> None:
        labels, scores = example(3)
        test = resampled_test_set(labels)
        all_seeds = seeded_auc(test, scores)
        found = difference(all_seeds, seeded_auc(test, {1: scores[0], 7: scores[1]}))
        assert found.seeds == (1,)
        expected = [sklearn.metrics.roc_auc_score(labels, each) for each in (scores[1], scores[0])]
        assert found.aucs == pytest.approx(expected[0] - expected[1], abs=1e-12)
        assert difference(all_seeds, seeded_auc(test, {7: scores[1]})) is None

    def test_covers_the_truth_about_as_often_as_it_says(self) -> None:
        """True AUC Φ(d'/√2) for every seed; three seeds that share half of their errors."""
        truth, hits = 0.8019, 0  # d' = 1.2
        for seed in range(150):
            labels, scores = example(seed, count=100, d_prime=1.2 * 2**0.5)
            found = estimate(seeded_auc(resampled_test_set(labels, resamples=300, seed=seed), scores))
            hits += found.low <= truth <= found.high
        assert 0.9 <= hits / 150 <= 1

    def test_no_seeds_raise(self) -> None:
        with pytest.raises(UserError, match="no seeds"):
            seeded_auc(resampled_test_set([0, 1]), {})

    def test_scores_that_are_not_finite_raise(self) -> None:
        with pytest.raises(UserError, match="score of image 1 is nan"):
            seeded_auc(resampled_test_set([0, 1]), {0: np.array([0, np.nan])})
