"""A batch that is divided among processes and, on each, into micro-batches that follow each other.

Of P parts, part s has the images s, s + P, s + 2P, ... of the batch of N. With R processes and m micro-batches,
P = R * m and micro-batch k of process r is part k * R + r; all parts are of the same size n = N / P.

What is the same as for the whole batch, but for rounding:
* A mean over images is the mean of the means of the parts, and so are its gradients.
* Minibatch-std groups are the images i, i + N/g, i + 2N/g, ... of the batch. N/g = P * (n/g): where n is a multiple
  of g, all members of a group are equal to i modulo P, so in one part, n/g rows apart, as the layer groups them there.
  Otherwise N/g is no multiple of P and the groups would be others; `check_division` refuses that.
* Random numbers: every part draws those of the whole batch (`dealing`) from the same random state.
"""

from collections.abc import Callable, Iterator

import torch

from .config import TrainingConfig
from .dealing import Dealer
from .errors import UserError
from .processes import ALONE, Processes

Report = dict[str, torch.Tensor]
LossOfPart = Callable[..., tuple[torch.Tensor, Report]]


class Division:
    """Which part of each batch this process has, and the gradient of the whole batch out of those of the parts."""

    def __init__(self, processes: Processes = ALONE, micro_batches: int = 1):
        self.processes = processes
        self.dealer = Dealer(processes.rank, processes.world_size)
        self.micro_batch = (0, 1)  # which one is being computed, and of how many
        self._micro_batches = micro_batches

    @property
    def parts(self) -> int:
        return self.processes.world_size * self._micro_batches

    def gradient(
        self, optimizer: torch.optim.Optimizer, loss_of: LossOfPart, *inputs: torch.Tensor
    ) -> tuple[torch.Tensor, Report]:
        """Leaves the gradient of the mean loss over all parts in the optimizer's parameters, the same bits everywhere.

        `loss_of(*inputs)` computes the mean loss of a part, with its graph, and values per image for the statistics.
        It gets this process' rows of `inputs`, or those of one micro-batch after the other.

        Returns: the mean loss (), and the values of this process' images.
        """
        parameters = optimizer.param_groups[0]["params"]
        optimizer.zero_grad(set_to_none=True)
        if self._micro_batches == 1:
            loss, report = _backward(loss_of, inputs, 1)
        else:
            loss, report = self._accumulate(parameters[0].device, loss_of, inputs)
        for parameter in parameters:
            if parameter.grad is None:  # a regulariser does not reach every one; Adam's averages move on all the same
                parameter.grad = torch.zeros_like(parameter)
        self.processes.average_([*(parameter.grad for parameter in parameters), loss])
        return loss, report

    def _accumulate(
        self, device: torch.device, loss_of: LossOfPart, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, Report]:
        losses, reports = [], []
        for index in self._each_micro_batch(device):
            rows = tuple(_rows(tensor, index, self._micro_batches) for tensor in inputs)
            loss, report = _backward(loss_of, rows, self._micro_batches)
            losses.append(loss)
            reports.append(report)
        joined = {name: torch.stack([part[name] for part in reports], dim=1).flatten(0, 1) for name in reports[0]}
        return torch.stack(losses).mean(), joined

    def _each_micro_batch(self, device: torch.device) -> Iterator[int]:
        """Each draws the numbers of the whole batch anew: the random state is put back to that at the start."""
        processes, cpu = self.processes, torch.get_rng_state()
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        try:
            for index in range(self._micro_batches):
                if index > 0:
                    torch.set_rng_state(cpu)
                    if cuda is not None:
                        torch.cuda.set_rng_state(cuda, device)
                self.dealer.index = index * processes.world_size + processes.rank
                self.dealer.parts = self.parts
                self.micro_batch = (index, self._micro_batches)
                yield index
        finally:
            self.dealer.index, self.dealer.parts = processes.rank, processes.world_size
            self.micro_batch = (0, 1)


WHOLE = Division()


def divide(config: TrainingConfig, processes: Processes = ALONE) -> Division:
    """The division of a run: as many micro-batches as its settings say.

    Raises:
        UserError: its batch cannot be divided so that the run is the same as in one piece.
    """
    if processes.world_size == 1 and config.micro_batch_size is None:
        return WHOLE
    own, remainder = divmod(config.batch_size, processes.world_size)
    size = config.micro_batch_size or own
    if size and not remainder and own % size:
        raise UserError(
            f"--batch-gpu {size} does not divide the {own} images that each process has of --batch "
            f"{config.batch_size}: choose a divisor of {own}"
        )
    micro_batches = max(own // max(size, 1), 1)
    has_path_lengths = config.loss.pl_weight and config.loss.pl_interval
    check_division(
        config.batch_size,
        config.batch_size // config.loss.pl_batch_shrink if has_path_lengths else 0,
        config.network.mbstd_group_size,
        processes.world_size * micro_batches,
    )
    return Division(processes, micro_batches)


def check_division(batch_size: int, pl_batch_size: int, mbstd_group_size: int, parts: int) -> None:
    """Raises UserError where a batch, or that of path lengths (0: there is none), cannot be divided into `parts` that
    together are the same as the whole."""
    if parts == 1:
        return
    among = f"--batch {batch_size} over {parts} processes or micro-batches"
    if batch_size % parts:
        raise UserError(f"{among}: not a multiple of {parts}; choose --batch {-(-batch_size // parts) * parts}")
    if pl_batch_size % parts:
        raise UserError(
            f"{among}: path lengths are computed on {pl_batch_size} images, not a multiple of {parts}; choose a larger "
            "--batch, fewer parts, or --pl-weight 0"
        )
    size, group = batch_size // parts, min(mbstd_group_size, batch_size)
    if size % group:
        raise UserError(
            f"{among}: minibatch-std groups of {group} do not divide the {size} images of a part; choose --batch "
            f"{group * parts} or a multiple of it"
        )


def _backward(loss_of: LossOfPart, inputs: tuple[torch.Tensor, ...], parts: int) -> tuple[torch.Tensor, Report]:
    """Adds to the gradients. The results are without graph: one that is kept alive until the next step would cost
    memory, and spoil the recording of it."""
    loss, report = loss_of(*inputs)
    (loss if parts == 1 else loss / parts).backward()
    return loss.detach(), {name: value.detach() for name, value in report.items()}


def _rows(tensor: torch.Tensor, index: int, parts: int) -> torch.Tensor:
    if len(tensor) % parts:
        raise ValueError(f"a batch of {len(tensor)} images does not divide into {parts} micro-batches")
    return tensor[index::parts]
