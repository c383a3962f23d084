"""Blocks of distances and radii against whole matrices of exact distances."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from metrics import neighbors
from metrics.density_coverage import density_coverage
from metrics.neighbors import DistanceBlock, distance_blocks, squared_radii
from metrics.precision_recall import precision_recall
from tests.metrics.toy_sources import in_threads


@pytest.mark.parametrize("k", [1, 3, 29])
@pytest.mark.parametrize("block", [1, 7, 30, 1000])
def test_radii_equal_sorted_distances(k: int, block: int) -> None:
    features = np.random.default_rng(0).normal(size=(30, 6)) + 50
    others = np.sort(cdist(features, features), axis=1)[:, 1:]
    np.testing.assert_allclose(squared_radii(features, k, block).sqrt().numpy(), others[:, k - 1], rtol=1e-10)


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
        squared[part.rows, part.columns] = part.squared.numpy()
        times[part.rows, part.columns] += 1
    np.testing.assert_allclose(squared, cdist(a, b, "sqeuclidean"), rtol=1e-9)
    assert (times == 1).all()


def test_rounding_stays_within_its_bound() -> None:
    """Thousands of dimensions, duplicates among them."""
    features = np.random.default_rng(4).normal(size=(60, 4096)) * np.geomspace(1e-3, 1e3, 60)[:, None]
    features[30:40] = features[:10]
    for part in distance_blocks(features, features, 16):
        exact = cdist(features[part.rows], features[part.columns], "sqeuclidean")
        assert (abs(part.squared.numpy() - exact) <= part.error.numpy() / 2).all()


def test_points_on_the_sphere_are_inside_at_any_block_size() -> None:
    """A set in its own balls: each k-th neighbor lies on a sphere, for many dimensions far from zero."""
    features = (np.random.default_rng(2).normal(size=(150, 512)) + 300).astype(np.float32)
    for block in (1, 13, 150):
        radii = squared_radii(features, 4, block)
        for other in (7, 64):
            held = np.zeros(150, dtype=int)
            for part in distance_blocks(features, features, other):
                held[part.columns] += part.inside(radii[part.columns]).sum(dim=0).numpy()
            assert (held == 5).all()


def test_no_block_is_larger_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that memory beyond the features goes into; 900 x 900 distances make up the whole."""
    sizes = []

    def noting(rows: slice, columns: slice, x: torch.Tensor, y: torch.Tensor) -> DistanceBlock:
        found = distance_block(rows, columns, x, y)
        sizes.append((len(x), len(y), *found.squared.shape))
        return found

    distance_block = neighbors._distance_block
    monkeypatch.setattr(neighbors, "_distance_block", noting)
    features = np.random.default_rng(3).normal(size=(900, 4)).astype(np.float32)
    precision_recall(features, features + 1, block=100)
    assert max(map(max, sizes)) == 100
    assert len(sizes) == 45 + 45 + 81


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_blocks(world_size: int) -> None:
    generator = np.random.default_rng(5)
    real, fake = generator.normal(size=(83, 3)).round(1), generator.normal(size=(61, 3)).round(1)

    def everything(**options):
        radii = squared_radii(real, 3, 10, **options).tolist()
        return radii, precision_recall(real, fake, 3, 10, **options), density_coverage(real, fake, 5, 10, **options)

    alone = everything()
    assert in_threads(world_size, lambda shards: everything(shards=shards)) == [alone] * world_size


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same() -> None:
    generator = np.random.default_rng(6)
    real, fake = (generator.normal(size=(count, 64)).astype(np.float32) for count in (500, 400))
    assert precision_recall(real, fake, device="cuda") == precision_recall(real, fake)
    assert density_coverage(real, fake, device="cuda") == density_coverage(real, fake)
