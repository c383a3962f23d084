"""Real images as a source for metrics: in the dataset's order, in chunks of 64."""

import numpy as np
import pytest
import torch

from stylegan2ada.dataset import ImageDataset
from stylegan2ada.dataset_chunks import CHUNK_SIZE, DatasetImages, class_names_of
from tests.toy_images import ToyImages, write_toy_zip


def test_chunks_are_the_dataset_in_order(tmp_path):
    dataset = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1, 1] * 23), use_labels=True)
    source = DatasetImages(dataset)
    assert (source.num_images, source.name, source.class_names) == (69, "toy", ("normal", "abnormal"))
    assert source.key == dataset.fingerprint()
    chunks = [source.chunk(0), source.chunk(1)]
    assert [len(pixels) for pixels, _ in chunks] == [CHUNK_SIZE, 69 - CHUNK_SIZE]
    assert (chunks[0][0].dtype, chunks[0][1].dtype) == (torch.uint8, torch.int64)
    pixels = torch.cat([pixels for pixels, _ in chunks]).numpy()
    np.testing.assert_array_equal(pixels, np.stack([dataset[i][0] for i in range(69)]))
    assert torch.cat([classes for _, classes in chunks]).tolist() == [0, 1, 1] * 23


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_chunk_outside(index):
    with pytest.raises(IndexError, match=f"chunk {index} of toy"):
        DatasetImages(ToyImages([0, 1] * 64)).chunk(index)


def test_the_end_of_a_whole_chunk():
    images = ToyImages([0, 1] * 64)
    source = DatasetImages(images)
    assert len(source.chunk(1)[0]) == CHUNK_SIZE
    assert source.key == images.fingerprint()


def test_images_without_classes(tmp_path):
    source = DatasetImages(ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1])))
    assert source.class_names == ()
    assert source.chunk(0)[1].tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (np.eye(2), ("a", "b"), ("a", "b")),
        (np.eye(3), None, ("0", "1", "2")),
        (np.zeros((4, 0)), None, ()),
        ([[0.5, 0.5]], ("a", "b"), ()),
        ([[1, 1], [1, 0]], ("a", "b"), ()),
    ],
)
def test_classes_are_one_hot_labels(labels, names, expected):
    assert class_names_of(np.asarray(labels), names) == expected
