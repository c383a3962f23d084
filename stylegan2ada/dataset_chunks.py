"""Real images in chunks of 64, as metrics read them: chunk i is the same whoever asks for it, and for what.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from typing import Protocol

import numpy as np
import torch

CHUNK_SIZE = 64  # that of every image source: image 64 * i + j is row j of chunk i
NO_CLASS = -1


class Images(Protocol):
    """N images with labels; `dataset.ImageDataset` is one."""

    @property
    def name(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...] | None: ...

    @property
    def labels(self) -> np.ndarray:
        """float32 (N,K)."""

    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (C,H,W) pixels and float32 (K,) label."""


class DatasetImages:
    """The images of a dataset, in its order. `key` is the dataset's own content hash."""

    def __init__(self, dataset: Images) -> None:
        self._dataset = dataset
        self._labels = dataset.labels
        self.name = dataset.name
        self.num_images = len(dataset)
        self.class_names = class_names_of(self._labels, dataset.class_names)
        self.key = dataset.fingerprint()

    def chunk(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 (n,C,H,W) pixels and int64 (n,) classes of images 64 * index on; n is 64 but at the end, and
        classes are -1 where the images have none.

        Raises:
            IndexError: there is no such chunk.
        """
        first = index * CHUNK_SIZE
        if not 0 <= first < self.num_images:
            raise IndexError(f"chunk {index} of {self.name}, which has {self.num_images} images")
        last = min(first + CHUNK_SIZE, self.num_images)
        pixels = np.stack([self._dataset[place][0] for place in range(first, last)])
        classes = classes_of_labels(torch.from_numpy(self._labels[first:last]), len(self.class_names))
        return torch.from_numpy(pixels), classes


def class_names_of(labels: np.ndarray, class_names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names of the classes of float (N,K) labels, their numbers where they have no names; () where the labels are no
    classes."""
    one_hot = labels.shape[1] > 0 and bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())
    if not one_hot:
        return ()
    return tuple(class_names or (str(index) for index in range(labels.shape[1])))


def classes_of_labels(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """One-hot (n,K) to int64 (n,); -1 for all where there are no classes."""
    return labels.argmax(dim=1) if num_classes else torch.full([len(labels)], NO_CLASS)
