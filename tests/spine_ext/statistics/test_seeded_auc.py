"""AUCs over seeds and their intervals, against slow ways to the same numbers, DeLong, and simulation."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from spine_ext.statistics.delong import auc_with_interval, compare_aucs
from spine_ext.statistics.grouped_bootstrap import draw_resamples
from spine_ext.statistics.seeded_auc import SeededAuc, difference, estimate, seeded_auc
from stylegan2ada.errors import UserError


def example(seed: int, count: int = 120, d_prime: float = 1.2) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Labels, and scores of three seeds that share half of their errors."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    shared = random.normal(size=count)
    return labels, {run: d_prime * labels + shared + random.normal(size=count) for run in range(3)}


def of_scores(
    labels: np.ndarray, scores: dict[int, np.ndarray], groups: np.ndarray | None = None, **drawing: int
) -> SeededAuc:
    """Of two classes; scores of class 1 need not be probabilities."""
    test = draw_resamples(labels, groups, **{"seed": 0} | drawing)
    return seeded_auc(test, {seed: np.stack([-each, each], axis=1) for seed, each in scores.items()})


class TestEstimate:
    @pytest.mark.parametrize("seed", range(3))
    def test_one_seed_without_groups_has_about_delongs_interval(self, seed: int) -> None:
        labels, scores = example(seed, count=400)
        found = estimate(of_scores(labels, {0: scores[0]}))
        auc, low, high = auc_with_interval(labels, scores[0])
        assert found.mean == pytest.approx(auc, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
        assert (found.sd, found.seeds) == (None, 1)

    @pytest.mark.parametrize("seed", range(3))
    def test_a_difference_of_one_seed_has_about_delongs_interval(self, seed: int) -> None:
        labels, scores = example(seed, count=400)
        found = estimate(difference(of_scores(labels, {0: scores[0]}), of_scores(labels, {0: scores[1]})))
        expected = compare_aucs(labels, scores[0], scores[1])
        assert found.mean == pytest.approx(expected.difference, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)

    def test_mean_and_spread_are_those_of_the_seeds(self) -> None:
        labels, scores = example(0)
        found = estimate(of_scores(labels, scores))
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
        found = estimate(of_scores(labels, scores))
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
        alike = estimate(of_scores(labels, dict.fromkeys(range(3), scores[0])))
        apart = {seed: scores[0] + shift * labels for seed, shift in enumerate((-0.6, 0.0, 0.6))}
        spread = estimate(of_scores(labels, apart))
        assert spread.high - spread.low > 1.3 * (alike.high - alike.low)

    def test_images_of_one_patient_widen_the_interval(self) -> None:
        random = np.random.default_rng(0)
        labels, groups = np.repeat([0, 1], 100), np.repeat(np.arange(50), 4)
        scores = np.repeat(random.normal(size=50), 4) + 1.2 * labels + 0.1 * random.normal(size=200)
        alone, grouped = (
            estimate(of_scores(labels, {0: scores}, each)) for each in (None, groups)
        )
        assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)

    def test_a_perfect_classifier_is_not_certain(self) -> None:
        labels = np.arange(40) % 2
        found = estimate(of_scores(labels, {0: labels * 1.0, 1: labels * 2.0}))
        assert (found.mean, found.high) == (1, 1)
        assert found.low == pytest.approx(0.05 ** (1 / 20))

    def test_two_perfect_classifiers_are_not_alike_for_certain(self) -> None:
        labels = np.arange(40) % 2
        perfect = of_scores(labels, {0: labels * 1.0}, labels + np.arange(40) // 8 * 2)  # five studies of each class
        found = estimate(difference(perfect, perfect))
        assert (found.low, found.high) == pytest.approx((0.05 ** (1 / 5) - 1, 1 - 0.05 ** (1 / 5)))

    def test_a_difference_that_seeds_do_not_prove_reaches_below_zero(self) -> None:
        """That all seeds and resamples show a gain is no reason to cut the interval at zero."""
        found = estimate(SeededAuc((0, 1), np.array([0.01, 0.05]), np.array([[0.01, 0.011], [0.05, 0.051]]), least=-1))
        assert found.low < 0

    def test_of_several_classes_it_is_the_macro_auc(self) -> None:
        random = np.random.default_rng(0)
        classes = np.arange(90) % 3
        runs = {seed: random.dirichlet(np.ones(3), 90) + 0.3 * np.eye(3)[classes] for seed in range(2)}
        found = estimate(seeded_auc(draw_resamples(classes, None, 0), runs))
        expected = [sklearn.metrics.roc_auc_score(np.eye(3)[classes], each) for each in runs.values()]
        assert found.mean == pytest.approx(np.mean(expected), abs=1e-12)
        assert found.low < found.mean < found.high

    def test_differences_use_the_seeds_that_both_have(self) -> None:
        labels, scores = example(3)
        all_seeds = of_scores(labels, scores)
        found = difference(all_seeds, of_scores(labels, {1: scores[0], 7: scores[1]}))
        assert found.seeds == (1,)
        expected = [sklearn.metrics.roc_auc_score(labels, each) for each in (scores[1], scores[0])]
        assert found.aucs == pytest.approx(expected[0] - expected[1], abs=1e-12)
        assert difference(all_seeds, of_scores(labels, {7: scores[1]})) is None

    def test_covers_the_truth_about_as_often_as_it_says(self) -> None:
        """True AUC Φ(d'/√2) for every seed; three seeds that share half of their errors."""
        truth, hits = 0.8019, 0  # d' = 1.2
        for seed in range(150):
            labels, scores = example(seed, count=100, d_prime=1.2 * 2**0.5)
            found = estimate(of_scores(labels, scores, resamples=300, seed=seed))
            hits += found.low <= truth <= found.high
        assert 0.9 <= hits / 150 <= 1

    @pytest.mark.parametrize(
        ("labels", "scores", "message"),
        [
            ([0, 1], {}, "no seeds"),
            ([0, 1], {0: [0, np.nan]}, "score of image 1 is nan"),
            ([1, 1], {0: [0, 1]}, r"images per class are \[2, 0\]"),
            ([0, 1, 1], {0: [0, 1]}, "one score per image"),
        ],
    )
    def test_what_has_no_auc_raises(self, labels: list, scores: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            of_scores(np.array(labels), {seed: np.array(each, dtype=float) for seed, each in scores.items()})
