"""Arrays of all processes in all of them, for what is computed in parts: the features of images, say."""

import numpy as np
import torch
import torch.distributed as dist

from .processes import TIMEOUT, Processes, naming_the_loss


class ArrayGroup:
    """The processes of a run, as those see them who exchange arrays on the host. All processes make one together.

    Every method is called by all processes, in the same order.
    """

    def __init__(self, processes: Processes):
        self.rank, self.world_size = processes.rank, processes.world_size
        self._hosts = dist.new_group(backend="gloo", timeout=TIMEOUT) if self.world_size > 1 else None

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """The array of each process, by rank. They may differ in their number of rows, and in nothing else.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self._hosts is None:
            return [array]
        counts = self._all_gather(torch.tensor(len(array)))
        # gloo wants the same size of all, and does not know every type: rows are filled up and travel as bytes
        filled = np.zeros((int(max(counts)), *array.shape[1:]), dtype=array.dtype)
        filled[: len(array)] = array
        found = self._all_gather(torch.from_numpy(filled.reshape(-1).view(np.uint8)))
        return [
            theirs.numpy().view(array.dtype).reshape(filled.shape)[: int(count)]
            for theirs, count in zip(found, counts, strict=True)
        ]

    def _all_gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        found = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with naming_the_loss():
            dist.all_gather(found, tensor, group=self._hosts)
        return found
