"""Batches of pixels: the same whether they fit into memory or not, and nothing is read before the first."""

import dataclasses

import numpy as np
import pytest
import torch

from spine_ext.decoded_images import DecodedImages
from tests.toy_images import ToyImages

CPU = torch.device("cpu")


@dataclasses.dataclass
class Counting(ToyImages):
    reads: int = 0

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.reads += 1
        return super().__getitem__(index)


@pytest.mark.parametrize(("limit_bytes", "reads"), [(6 * 32 * 32, 6), (6 * 32 * 32 - 1, 4)])
def test_batches_are_those_of_the_dataset(limit_bytes: int, reads: int) -> None:
    dataset = Counting([0, 1, 1, 0, 0, 1])
    images = DecodedImages(dataset, CPU, limit_bytes)
    assert dataset.reads == 0
    for indices in ([5, 2], [2, 0]):
        pixels, labels = images.batch(torch.tensor(indices))
        expected = [ToyImages.__getitem__(dataset, index) for index in indices]
        np.testing.assert_array_equal(pixels.numpy(), np.stack([each for each, _ in expected]))
        np.testing.assert_array_equal(labels.numpy(), np.stack([each for _, each in expected]))
    assert dataset.reads == reads
