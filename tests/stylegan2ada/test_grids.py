"""The picture grids: which cell shows which class, in pictures of reals and of fakes."""

import numpy as np
import pytest

from stylegan2ada import Generator
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.diversity import class_diversity
from stylegan2ada.grids import COLUMNS, FakeGrid, grid_labels, real_grid
from tests.toy_images import write_toy_zip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """Class 0 fills its cells, class 1 does not."""
    path = tmp_path_factory.mktemp("grids") / "toy.zip"
    return ImageDataset(write_toy_zip(path, [0] * 40 + [1] * 5), use_labels=True)


def test_the_cells_of_reals_say_what_is_in_them(dataset):
    pixels, classes = real_grid(dataset, seed=3)
    assert len(pixels) == len(classes) == len(grid_labels(2)) == 6 * COLUMNS
    assert np.bincount(classes[classes >= 0]).tolist() == [36, 5]
    assert not pixels[classes < 0].any()
    assert pixels[classes >= 0].any(axis=(1, 2, 3)).all()


def test_black_cells_are_no_diversity(dataset):
    pixels, classes = real_grid(dataset, seed=3)
    only_filled = class_diversity(pixels[classes == 1], [1] * 5)
    assert class_diversity(pixels, classes)[1] == only_filled[1]


def test_a_grid_without_labels_is_one_class(dataset):
    pixels, classes = real_grid(ImageDataset(dataset.path), seed=3)
    assert list(class_diversity(pixels, classes)) == [0]


@pytest.mark.parametrize(("c_dim", "expected"), [(0, [72]), (2, [36, 36]), (8, [12] * 8)])
def test_the_cells_of_fakes_have_the_classes_of_their_labels(c_dim, expected):
    G = Generator(4, c_dim, 4, 8, 1, {"num_layers": 1}, {"channel_base": 32, "channel_max": 4})
    grid = FakeGrid(G, seed=0, batch_size=16)
    assert np.bincount(grid.classes).tolist() == expected
    assert grid.labels.argmax(1).tolist() == grid.classes.tolist() if c_dim else grid.labels.shape == (72, 0)
    assert len(grid.images(G)) == len(grid.classes)
