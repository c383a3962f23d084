"""Balls of k nearest neighbors against whole matrices of exact distances."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from metrics.neighbors import count_in_balls, squared_radii


@pytest.mark.parametrize("k", [1, 3, 29])
@pytest.mark.parametrize("block", [1, 7, 30, 1000])
def test_radii_equal_sorted_distances(k: int, block: int) -> None:
    features = np.random.default_rng(0).normal(size=(30, 6)) + 50
    others = np.sort(cdist(features, features), axis=1)[:, 1:]
    np.testing.assert_allclose(np.sqrt(squared_radii(features, k, block)), others[:, k - 1], rtol=1e-10)


def test_a_duplicate_is_a_neighbor() -> None:
    line = np.array([[0.0], [0], [1], [5]])
    np.testing.assert_allclose(squared_radii(line, 1), [0, 0, 1, 16], atol=1e-12)
    np.testing.assert_allclose(squared_radii(line, 2), [1, 1, 1, 25], atol=1e-12)


@pytest.mark.parametrize("block", [1, 3, 8, 100])
def test_counts_equal_whole_matrices(block: int) -> None:
    generator = np.random.default_rng(1)
    points, centers = generator.normal(size=(17, 4)), generator.normal(size=(11, 4))
    radii = generator.uniform(0.5, 3, size=11)
    inside = cdist(points, centers) <= radii
    counts = count_in_balls(points, centers, radii**2, block)
    np.testing.assert_array_equal(counts.per_point, inside.sum(axis=1))
    np.testing.assert_array_equal(counts.per_ball, inside.sum(axis=0))


def test_points_on_the_sphere_are_inside_at_any_block_size() -> None:
    """A set in its own balls: each neighbor at distance k lies on a sphere, for many dimensions far from zero."""
    features = (np.random.default_rng(2).normal(size=(150, 512)) + 300).astype(np.float32)
    for block in (1, 13, 150):
        radii = squared_radii(features, 4, block)
        for other in (7, 64):
            assert (count_in_balls(features, features, radii, other).per_ball == 5).all()


def test_memory_does_not_grow_with_the_pairs() -> None:
    """6000 x 6000 distances would be 288 MB."""
    features = np.random.default_rng(3).normal(size=(6000, 4)).astype(np.float32)
    tracemalloc.start()
    count_in_balls(features, features, squared_radii(features, 3, 500), 500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
