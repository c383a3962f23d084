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
        self.labels = grid_labels(G.c_dim)
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


def save_real_grid(path: Path, dataset: ImageDataset, seed: int) -> None:
    """Random real images, laid out as `grid_labels` says; a class with too few images leaves black cells."""
    labels = grid_labels(dataset.label_dim)
    random = np.random.RandomState(seed)
    order = random.permutation(len(dataset))
    pixels = np.zeros([len(labels), dataset.num_channels, dataset.resolution, dataset.resolution], dtype=np.uint8)
    classes = labels.argmax(1).numpy() if dataset.label_dim else np.zeros(len(labels), dtype=np.int64)
    of_image = dataset.labels.argmax(1) if dataset.label_dim else np.zeros(len(dataset), dtype=np.int64)
    for wanted in np.unique(classes):
        cells = np.flatnonzero(classes == wanted)
        for cell, index in zip(cells, order[of_image[order] == wanted], strict=False):
            pixels[cell], _ = dataset[index]
    save_grid(path, pixels, COLUMNS)
