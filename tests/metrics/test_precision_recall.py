"""Precision and recall against the definition point by point, and sets whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.precision_recall import precision_recall


def slow_part_on_manifold(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    """Equations 1 and 2, with loops."""

    def radius(i: int) -> float:
        return sorted(np.linalg.norm(manifold[i] - other) for j, other in enumerate(manifold) if j != i)[k - 1]

    radii = [radius(i) for i in range(len(manifold))]
    on = [any(np.linalg.norm(p - m) <= r for m, r in zip(manifold, radii, strict=True)) for p in points]
    return sum(on) / len(points)


@pytest.mark.parametrize(("k", "shift"), [(1, 0.0), (3, 0.5), (3, 2.0), (5, 1.0)])
def test_equals_the_definition(k: int, shift: float) -> None:
    generator = np.random.default_rng(0)
    real, fake = generator.normal(size=(40, 3)), generator.normal(size=(25, 3)) * 0.7 + shift
    expected = slow_part_on_manifold(fake, real, k), slow_part_on_manifold(real, fake, k)
    assert precision_recall(real, fake, k) == pytest.approx(expected)
    assert 0 < sum(expected) < 2


def test_a_set_and_itself() -> None:
    features = np.random.default_rng(0).normal(size=(60, 100)) + 1000
    assert precision_recall(features, features) == (1, 1)
    assert precision_recall(np.repeat(features[:5], 6, axis=0), features[:5]) == (1, 1)  # balls of radius zero


def test_sets_far_apart() -> None:
    generator = np.random.default_rng(0)
    assert precision_recall(generator.normal(size=(30, 8)), generator.normal(size=(30, 8)) + 1e4) == (0, 0)


def test_a_lost_mode_costs_recall_and_a_wrong_one_precision() -> None:
    generator = np.random.default_rng(0)
    mode, other = generator.normal(size=(40, 2)), generator.normal(size=(40, 2)) + 1000
    both = np.concatenate([mode, other])
    assert precision_recall(both, mode) == (1, 0.5)
    assert precision_recall(mode, both) == (0.5, 1)


def test_points_on_a_line() -> None:
    """k = 1: the reals 0, 1, 10 have radii 1, 1, 9, thus hold [-1, 2] and [1, 19], both ends included."""
    real, fake = np.array([[0.0], [1], [10]]), np.array([[-1.5], [-1], [2], [19], [19.5], [40]])
    result = precision_recall(real, fake, k=1)
    assert result.precision == pytest.approx(3 / 6)
    assert result.recall == pytest.approx(2 / 3)  # -1 holds [-1.5, -0.5], 2 [-1, 5] and 40 from 19.5 on


sizes = st.integers(4, 20)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), sizes, sizes, st.integers(1, 3), st.integers(1, 25), st.booleans())
def test_neither_block_order_nor_shift_matter(
    seed: int, num_real: int, num_fake: int, k: int, block: int, on_a_lattice: bool
) -> None:
    generator = np.random.default_rng(seed)
    real, fake = (generator.normal(size=(n, 2)) * 2 for n in (num_real, num_fake))
    if on_a_lattice:  # many duplicates, and points on spheres
        real, fake = real.round(), fake.round()
    expected = precision_recall(real, fake, k)
    assert precision_recall(real, fake, k, block) == expected
    assert precision_recall(generator.permutation(real), generator.permutation(fake), k, block) == expected
    assert precision_recall(real * 4 + 32, fake * 4 + 32, k, block) == expected
    swapped = precision_recall(fake, real, k)
    assert (swapped.recall, swapped.precision) == expected
    wider = precision_recall(real, fake, min(k + 1, num_real - 1, num_fake - 1))
    assert wider.precision >= expected.precision
    assert wider.recall >= expected.recall


@pytest.mark.parametrize(
    ("real", "fake", "options", "message"),
    [
        (np.zeros((3, 2)), np.zeros((9, 2)), {}, "3 real images are too few: at least 4"),
        (np.zeros((9, 2)), np.zeros((5, 2)), {"k": 5}, "5 fake images are too few: at least 6"),
        (np.zeros((9, 2)), np.zeros((9, 3)), {}, "2 .real. and 3 .fake. dimensions"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), {}, "real features have NaN or Inf"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"k": 0}, "k must be at least 1, not 0"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"block": 0}, "block must be at least 1, not 0"),
    ],
)
def test_unusable_input_raises(real: np.ndarray, fake: np.ndarray, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        precision_recall(real, fake, **options)


@pytest.mark.parametrize("far", [0, 1e6])
def test_just_outside_is_outside(far: float) -> None:
    """Reals 1 apart; a fake 1e-9 beyond the last ball, or, far from zero, where fewer digits are left, 1e-6."""
    real = np.stack([np.arange(5.0), np.full(5, far)], axis=1) + far
    beyond = np.array([1e-6 if far else 1e-9, 0])
    inside, outside = real[-1] + [1, 0], real[-1] + [1, 0] + beyond
    assert precision_recall(real, np.stack([inside, inside]), k=1).precision == 1
    assert precision_recall(real, np.stack([outside, outside]), k=1).precision == 0


def test_one_image_repeated() -> None:
    assert precision_recall(np.full((6, 3), 0.0), np.full((5, 3), 0.0)) == (1, 1)
    assert precision_recall(np.full((6, 3), 0.1), np.full((5, 3), 0.2)) == (0, 0)
