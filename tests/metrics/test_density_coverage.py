"""Density and coverage against the definition point by point, expectations of the paper, and known sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.density_coverage import density_coverage


def slow_density_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Section 3 as it is printed, with loops."""
    held = np.zeros((len(real), len(fake)), dtype=bool)
    for i, center in enumerate(real):
        others = sorted(np.linalg.norm(center - other) for j, other in enumerate(real) if j != i)
        for j, point in enumerate(fake):
            held[i, j] = np.linalg.norm(center - point) <= others[k - 1]
    return held.sum() / (k * len(fake)), held.any(axis=1).sum() / len(real)


@pytest.mark.parametrize(("k", "shift"), [(1, 0.0), (5, 0.5), (3, 1.5)])
def test_equals_the_definition(k: int, shift: float) -> None:
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(40, 3)), generator.normal(size=(25, 3)) * 0.7 + shift
    expected = slow_density_coverage(real, fake, k)
    assert density_coverage(real, fake, k) == pytest.approx(expected)
    assert min(expected) > 0


def test_equal_distributions() -> None:
    """Expected density 1; expected coverage 1 - ((N-1)...(N-k)) / ((M+N-1)...(M+N-k))."""
    generator = np.random.default_rng(1)
    count, k = 100, 2
    values = [density_coverage(*generator.normal(size=(2, count, 4)), k) for _ in range(100)]
    missed = np.prod([(count - i) / (2 * count - i) for i in range(1, k + 1)])
    means, errors = np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(len(values))
    assert abs(means[0] - 1) < 4 * errors[0]
    assert abs(means[1] - (1 - missed)) < 4 * errors[1]


def test_a_set_and_itself() -> None:
    """Each ball holds its center and k neighbors."""
    features = np.random.default_rng(0).normal(size=(50, 64)) + 100
    assert density_coverage(features, features, k=5) == pytest.approx((6 / 5, 1))


def test_sets_far_apart() -> None:
    generator = np.random.default_rng(0)
    assert density_coverage(generator.normal(size=(30, 8)), generator.normal(size=(30, 8)) + 1e4) == (0, 0)


def test_one_fake_at_the_center_of_one_of_two_modes() -> None:
    """Twenty reals around each of two places, every one further from the rest of its mode than from its center."""
    mode = np.eye(20)
    real = np.concatenate([mode, mode + 1000])
    assert density_coverage(real, np.full((3, 20), 1 / 20), k=5) == pytest.approx((20 / 5, 0.5))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(4, 20), st.integers(1, 20), st.integers(1, 3), st.integers(1, 25))
def test_neither_block_nor_order_matter(seed: int, num_real: int, num_fake: int, k: int, block: int) -> None:
    generator = np.random.default_rng(seed)
    real, fake = (generator.normal(size=(n, 2)).round(1) for n in (num_real, num_fake))  # with ties
    expected = density_coverage(real, fake, k)
    assert density_coverage(generator.permutation(real), generator.permutation(fake), k, block) == expected
    assert 0 <= expected.coverage <= 1
    twice = density_coverage(real, np.repeat(fake, 2, axis=0), k)
    assert twice == pytest.approx(expected)


@pytest.mark.parametrize(
    ("real", "fake", "options", "message"),
    [
        (np.zeros((5, 2)), np.zeros((9, 2)), {}, "5 real images are too few: at least 6"),
        (np.zeros((9, 2)), np.zeros((0, 2)), {}, "0 fake images are too few: at least 1"),
        (np.zeros((9, 2)), np.zeros((9, 3)), {}, "2 .real. and 3 .fake. dimensions"),
        (np.zeros((9, 2)), np.full((9, 2), np.inf), {}, "fake features have NaN or Inf"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"k": -1}, "k must be at least 1, not -1"),
    ],
)
def test_unusable_input_raises(real: np.ndarray, fake: np.ndarray, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density_coverage(real, fake, **options)
