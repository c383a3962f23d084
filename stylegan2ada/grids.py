"""The picture grids of a run folder: real images, and fakes of the same latents at every snapshot. Rows go by class."""

from pathlib import Path

import numpy as np
import torch

from .dataset import ImageDataset
from .generator import Generator
from .images import save_grid, to_uint8

COLUMNS = 12
MIN_ROWS = 6


class FakeGrid:
    """Fixed latents and labels, so that the grids of a run can be compared. Each class has as many rows."""

    def __init__(self, G: Generator, seed: int, device: torch.device, batch_size: int):
        self.labels = grid_labels(G.c_dim)
        self._device, self._batch_size = device, batch_size
        random = np.random.RandomState(seed)
        latents = random.randn(len(self.labels), G.z_dim).astype(np.float32)
        self._z = torch.from_numpy(latents)

    @torch.no_grad()
    def images(self, G: Generator) -> np.ndarray:
        """uint8 (N,C,H,W), with constant noise and no truncation."""
        batches = zip(self._z.split(self._batch_size), self.labels.split(self._batch_size), strict=True)
        images = [to_uint8(G(z.to(self._device), c.to(self._device), noise_mode="const")).cpu() for z, c in batches]
        return torch.cat(images).numpy()

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
