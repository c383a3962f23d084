"""The picture grids of a run folder: real images, and fakes of the same latents at every snapshot. Rows go by class."""

from pathlib import Path

import numpy as np
import torch

from .dataset import ImageDataset
from .generator import Generator
from .images import save_grid
from .sampling import pixels_of_latents

COLUMNS = 12
MIN_ROWS = 6


class FakeGrid:
    """Fixed latents and labels, so that the grids of a run can be compared. Each class has as many rows."""

    def __init__(self, G: Generator, seed: int, batch_size: int):
        self.labels, self.classes = grid_labels(G.c_dim), grid_classes(G.c_dim)
        self._batch_size = batch_size
        random = np.random.RandomState(seed)
        latents = random.randn(len(self.labels), G.z_dim).astype(np.float32)
        self._z = torch.from_numpy(latents)

    def images(self, G: Generator) -> np.ndarray:
        """uint8 (N,C,H,W), with constant noise and no truncation."""
        batches = pixels_of_latents(G, self._z, self.labels, self._batch_size)
        return torch.cat([pixels.cpu() for pixels in batches]).numpy()

    def save(self, path: Path, G: Generator) -> None:
        save_grid(path, self.images(G), COLUMNS)


def grid_labels(num_classes: int) -> torch.Tensor:
    """(N, K) one-hot: at least MIN_ROWS rows of COLUMNS images, as many for each class."""
    rows_per_class = max(-(-MIN_ROWS // max(num_classes, 1)), 1)
    if num_classes == 0:
        return torch.zeros(rows_per_class * COLUMNS, 0)
    return torch.eye(num_classes).repeat_interleave(rows_per_class * COLUMNS, dim=0)


def grid_classes(num_classes: int) -> np.ndarray:
    """(N,) class of each cell of a grid; 0 in an unconditional run."""
    labels = grid_labels(num_classes)
    return labels.argmax(1).numpy() if num_classes else np.zeros(len(labels), dtype=np.int64)


def real_grid(dataset: ImageDataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random real images uint8 (N,C,H,W), laid out as `grid_labels` says, and their classes (N,).

    Cells for which a class has too few images stay black; their class is -1.
    """
    wanted = grid_classes(dataset.label_dim)
    pixels = np.zeros([len(wanted), dataset.num_channels, dataset.resolution, dataset.resolution], dtype=np.uint8)
    classes = np.full_like(wanted, -1)
    order = np.random.RandomState(seed).permutation(len(dataset))
    of_image = dataset.labels.argmax(1) if dataset.label_dim else np.zeros(len(dataset), dtype=np.int64)
    for index in np.unique(wanted):
        cells = np.flatnonzero(wanted == index)
        for cell, image in zip(cells, order[of_image[order] == index], strict=False):
            pixels[cell], _ = dataset[image]
            classes[cell] = index
    return pixels, classes
