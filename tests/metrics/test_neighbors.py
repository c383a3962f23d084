"""Blocks of distances and radii against whole matrices of exact distances."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from metrics.neighbors import distance_blocks, squared_radii
from metrics.precision_recall import precision_recall


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
def test_blocks_make_up_the_whole_matrix(block: int) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(17, 4)), generator.normal(size=(11, 4))
    squared, times = np.zeros((17, 11)), np.zeros((17, 11))
    for part in distance_blocks(a, b, block):
        assert max(part.squared.shape) <= block
        squared[part.rows, part.columns] = part.squared
        times[part.rows, part.columns] += 1
    np.testing.assert_allclose(squared, cdist(a, b, "sqeuclidean"), rtol=1e-9)
    assert (times == 1).all()


def test_rounding_stays_within_its_bound() -> None:
    """Thousands of dimensions, duplicates among them."""
    features = np.random.default_rng(4).normal(size=(60, 4096)) * np.geomspace(1e-3, 1e3, 60)[:, None]
    features[30:40] = features[:10]
    for part in distance_blocks(features, features, 16):
        exact = cdist(features[part.rows], features[part.columns], "sqeuclidean")
        assert (abs(part.squared - exact) <= part.error / 2).all()


def test_points_on_the_sphere_are_inside_at_any_block_size() -> None:
    """A set in its own balls: each k-th neighbor lies on a sphere, for many dimensions far from zero."""
    features = (np.random.default_rng(2).normal(size=(150, 512)) + 300).astype(np.float32)
    for block in (1, 13, 150):
        radii = squared_radii(features, 4, block)
        for other in (7, 64):
            held = np.zeros(150, dtype=int)
            for part in distance_blocks(features, features, other):
                held[part.columns] += part.inside(radii[part.columns]).sum(axis=0)
            assert (held == 5).all()


def test_memory_does_not_grow_with_the_pairs() -> None:
    """6000 x 6000 distances would be 288 MB."""
    features = np.random.default_rng(3).normal(size=(6000, 4)).astype(np.float32)
    tracemalloc.start()
    precision_recall(features, features + 1, block=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
