"""Random numbers of a batch that several processes, or several micro-batches, share.

Everyone draws the numbers of the whole batch from the same random state and takes every `parts`-th row of them. So the
numbers an image gets depend on the seed alone, not on how many share the work, and the random state is one and the same
everywhere. Drawing is cheap beside the networks.
"""

import torch
from torch import nn


class Dealer:
    """Deals rows `index`, `index + parts`, `index + 2 * parts`, ... of each draw.

    `count`, everywhere: the rows that are wanted here. With one part, a draw is torch's own. generator: draws from it
    instead of torch's global random state.
    """

    def __init__(self, index: int = 0, parts: int = 1, generator: torch.Generator | None = None):
        if not 0 <= index < parts:
            raise ValueError(f"there is no part {index} of {parts}")
        self.index, self.parts, self._generator = index, parts, generator

    def randn(self, count: int, *shape: int, dtype: torch.dtype | None = None, device=None) -> torch.Tensor:
        """Unit normal, (count, *shape)."""
        shape = [count * self.parts, *shape]
        return self.own(torch.randn(shape, generator=self._generator, dtype=dtype, device=device))

    def rand(self, count: int, *shape: int, dtype: torch.dtype | None = None, device=None) -> torch.Tensor:
        """Uniform in [0, 1), (count, *shape)."""
        shape = [count * self.parts, *shape]
        return self.own(torch.rand(shape, generator=self._generator, dtype=dtype, device=device))

    def randint(self, high: int, count: int, device=None) -> torch.Tensor:
        """Uniform in 0, 1, ... high-1, (count,)."""
        return self.own(torch.randint(high, [count * self.parts], generator=self._generator, device=device))

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        """Of the rows of a whole batch, those of this part."""
        return rows if self.parts == 1 else rows[self.index :: self.parts].contiguous()


UNDIVIDED = Dealer()


class DealerUser(nn.Module):
    """A module that draws random numbers per image; `compute.set_dealer` says which are its own."""

    dealer: Dealer = UNDIVIDED
