"""The real images of a run, and how far it is through them."""

import torch

from .config import TrainingConfig
from .data_loader import endless_batches
from .dataset import ImageDataset
from .images import to_model_range
from .processes import ALONE, Processes


class RealBatches:
    """This process' batches of real images in [-1, 1]; `position` counts the images that all processes have taken
    together, for a run that goes on there."""

    def __init__(
        self,
        config: TrainingConfig,
        dataset: ImageDataset,
        device: torch.device,
        position: int,
        processes: Processes = ALONE,
    ):
        """Reads a small data set at once, so that a broken image shows before the first step."""
        self._batches = endless_batches(
            dataset, config.batch_size // processes.world_size, config.seed, start=position,
            num_workers=config.num_workers, device=device, rank=processes.rank, world_size=processes.world_size,
        )  # fmt: skip
        self._world_size = processes.world_size
        self.position = position

    def __iter__(self) -> "RealBatches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        pixels, labels = next(self._batches)
        self.position += len(pixels) * self._world_size
        return to_model_range(pixels), labels

    def close(self) -> None:
        self._batches.close()
