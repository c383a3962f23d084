"""Kernel distance against loops over pairs, closed forms and an enumeration of all subsets."""

import itertools

import numpy as np
import pytest

from metrics.kid import cubic_kernel, kernel_distance, squared_mmd


def slow_squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate as it is printed, pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(rows: np.ndarray) -> float:
        pairs = [kernel(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(pairs) / (len(rows) * (len(rows) - 1))

    across = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return float(within(x) + within(y) - 2 * across)


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(12, 5)), generator.normal(size=(9, 5)) + 0.7


def test_equals_the_sum_over_pairs(sets: tuple[np.ndarray, np.ndarray]) -> None:
    assert squared_mmd(*sets) == pytest.approx(slow_squared_mmd(*sets), rel=1e-12)


def test_a_value_by_hand() -> None:
    """One dimension: reals 0 and 1, fakes 2 and 3; kernels within 1 and 7^3, across 1, 1, 3^3 and 4^3."""
    value = kernel_distance(np.array([[0.0], [1]]), np.array([[2.0], [3]]), num_subsets=2, seed=0)
    assert value == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


def test_the_kernel_is_that_of_the_paper(sets: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = sets
    assert cubic_kernel(x, y)[3, 4] == pytest.approx((np.dot(x[3], y[4]) / 5 + 1) ** 3)


def test_one_full_subset_is_the_estimate_of_all(sets: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = sets[0][:9], sets[1]
    assert kernel_distance(x, y, num_subsets=3, seed=1) == pytest.approx(squared_mmd(x, y), rel=1e-12)


def test_subsets_are_drawn_without_replacement_and_average_to_all_of_them() -> None:
    """The mean over random subsets approaches that over every pair of subsets, which is the full estimate."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(5, 2)), generator.normal(size=(4, 2))
    every = [
        squared_mmd(x[list(a)], y[list(b)])
        for a in itertools.combinations(range(5), 3)
        for b in itertools.combinations(range(4), 3)
    ]
    assert np.mean(every) == pytest.approx(squared_mmd(x, y))
    error = 5 * np.std(every) / np.sqrt(4000)
    assert kernel_distance(x, y, 4000, 3, seed=0) == pytest.approx(np.mean(every), abs=error)


def test_is_unbiased() -> None:
    """Equal distributions: a mean of zero, thus both signs. With the pairs of a row and itself it would be about 1."""
    generator = np.random.default_rng(4)
    values = [squared_mmd(generator.normal(size=(20, 4)), generator.normal(size=(20, 4))) for _ in range(600)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_of_two_constants() -> None:
    """Two constants a and b, whose kernels are those of the numbers: k(a,a) + k(b,b) - 2 k(a,b)."""
    a, b = np.full((10, 3), 1.0), np.full((10, 3), 2.0)
    assert kernel_distance(a, b, seed=0) == pytest.approx(2**3 + 5**3 - 2 * 3**3)
    assert kernel_distance(a, a, seed=0) == pytest.approx(0, abs=1e-12)


def test_the_seed_decides(sets: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (kernel_distance(*sets, 3, 4, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_float32_is_computed_in_float64(sets: tuple[np.ndarray, np.ndarray]) -> None:
    single = [features.astype(np.float32) + 100 for features in sets]
    double = [features.astype(np.float64) for features in single]
    assert kernel_distance(*single, 5, 6, seed=0) == kernel_distance(*double, 5, 6, seed=0)


@pytest.mark.parametrize(
    ("real", "fake", "options", "message"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), {}, "1 real images are too few: at least 2"),
        (np.zeros((5, 3)), np.zeros((0, 3)), {}, "0 fake images are too few"),
        (np.zeros((4, 3)), np.zeros((4, 2)), {}, "3 .real. and 2 .fake. dimensions"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), {}, "fake features have NaN or Inf"),
        (np.full((4, 3), -np.inf), np.zeros((4, 3)), {}, "real features have NaN or Inf"),
        (np.zeros(4), np.zeros((4, 3)), {}, r"\(N,D\), not float64 \(4,\)"),
        (np.full((4, 3), "a"), np.zeros((4, 3)), {}, "must be numbers"),
        (np.zeros((4, 3)), np.zeros((4, 3)), {"num_subsets": 0}, "num_subsets must be at least 1, not 0"),
        (np.zeros((4, 3)), np.zeros((4, 3)), {"max_subset_size": 1}, "max_subset_size must be at least 2, not 1"),
    ],
)
def test_unusable_input_raises(real: np.ndarray, fake: np.ndarray, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_distance(real, fake, **options, seed=0)
