"""The pixels of a dataset by the batch: decoded once where they fit into memory, read again and again where not."""

import numpy as np
import torch

from .labelled_images import LabelledImages

MEMORY_LIMIT_BYTES = 1 << 30  # 16,384 grey images of 256 px


class DecodedImages:
    """uint8 (N,C,H,W) pixels and float32 (N,K) labels on a device, by indices.

    A small dataset is decoded when the first batch is asked for, not before.
    """

    def __init__(self, dataset: LabelledImages, device: torch.device, limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._dataset = dataset
        self._device = device
        self._fits = len(dataset) * dataset.num_channels * dataset.resolution**2 <= limit_bytes
        self._decoded: torch.Tensor | None = None
        self._labels = torch.from_numpy(np.asarray(dataset.labels, dtype=np.float32)).to(device)

    def __len__(self) -> int:
        return len(self._dataset)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The images and labels at int64 (n,) indices."""
        labels = self._labels[indices.to(self._device)]
        if not self._fits:
            return self._read(indices), labels
        if self._decoded is None:
            self._decoded = self._read(torch.arange(len(self._dataset)))
        return self._decoded[indices.to(self._device)], labels

    def _read(self, indices: torch.Tensor) -> torch.Tensor:
        pixels = np.stack([self._dataset[index][0] for index in indices.tolist()])
        return torch.from_numpy(pixels).to(self._device)
