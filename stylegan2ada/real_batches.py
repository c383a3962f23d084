"""The real images of a run, and how far it is through them."""

import torch

from .config import TrainingConfig
from .data_loader import endless_batches
from .dataset import ImageDataset
from .images import to_model_range


class RealBatches:
    """Batches of real images in [-1, 1]; `position` counts the images that were taken, for a run that goes on there."""

    def __init__(self, config: TrainingConfig, dataset: ImageDataset, device: torch.device, position: int):
        """Reads a small data set at once, so that a broken image shows before the first step."""
        self._batches = endless_batches(
            dataset, config.batch_size, config.seed, start=position, num_workers=config.num_workers, device=device
        )
        self.position = position

    def __iter__(self) -> "RealBatches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        pixels, labels = next(self._batches)
        self.position += len(pixels)
        return to_model_range(pixels), labels

    def close(self) -> None:
        self._batches.close()
