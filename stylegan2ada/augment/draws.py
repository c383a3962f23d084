"""The random parameters of one batch of augmentations."""

import torch

from stylegan2ada.dealing import UNDIVIDED, Dealer


class Draws:
    """Draws parameters for each image of a batch: float32 tensors (N,), or (N, columns) where columns are asked for.

    With a `percentile` q nothing is random: every draw is its q-quantile, and every transform with a positive
    multiplier is applied, whatever `p`. That is for tests and for looking at single transforms.

    What is drawn, and how much, depends on no image and on no other draw: processes that share a batch stay in step.
    """

    def __init__(self, batch: int, p: torch.Tensor, percentile: float | None = None, dealer: Dealer = UNDIVIDED):
        self.batch = batch
        self.p = p  # a scalar tensor; it stays on its device, reading it would stall the GPU
        self.percentile = percentile
        self._dealer = dealer

    def of_batch(self) -> "Draws":
        """Draws the same for all images of a batch of which these are a part; `own` takes the rows of this part."""
        return Draws(self.batch * self._dealer.parts, self.p, self.percentile)

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        return self._dealer.own(rows)

    def uniform(self, low: float, high: float, *columns: int) -> torch.Tensor:
        """Uniform in [low, high)."""
        return low + (high - low) * self._unit(*columns)

    def integer(self, count: int) -> torch.Tensor:
        """Uniform in 0, 1, ... count-1, as floats."""
        return (self._unit() * count).floor()

    def normal(self, std: float, *columns: int) -> torch.Tensor:
        """Normal with mean 0."""
        if self.percentile is None:
            return self._dealer.randn(self.batch, *columns, device=self.p.device) * std
        return self._full(_erfinv(2 * self.percentile - 1) * std, *columns)

    def white_noise(self, images: torch.Tensor) -> torch.Tensor:
        """Unit normal numbers of the shape and type of `images`; random even with a percentile."""
        return self._dealer.randn(*images.shape, dtype=images.dtype, device=images.device)

    def half_normal(self, std: float) -> torch.Tensor:
        """Absolute value of a normal draw."""
        if self.percentile is None:
            return self.normal(std).abs()
        return self._full(_erfinv(self.percentile) * std)

    def log2_normal(self, std: float) -> torch.Tensor:
        """2 to the power of a normal draw."""
        return self.normal(std).exp2()

    def applied(self, probability: torch.Tensor, values: torch.Tensor, identity: float) -> torch.Tensor:
        """`values` with the given probability (a scalar tensor), independently per image; `identity` otherwise."""
        if self.percentile is not None:
            return values
        chosen = self._dealer.rand(self.batch, device=self.p.device) < probability
        return torch.where(chosen.reshape(-1, *[1] * (values.ndim - 1)), values, identity)

    def _unit(self, *columns: int) -> torch.Tensor:
        if self.percentile is None:
            return self._dealer.rand(self.batch, *columns, device=self.p.device)
        return self._full(self.percentile, *columns)

    def _full(self, value: float, *columns: int) -> torch.Tensor:
        return torch.full([self.batch, *columns], value, device=self.p.device)


def _erfinv(x: float) -> float:
    return torch.erfinv(torch.tensor(x, dtype=torch.float64)).item()
