"""How the phases of a training step run: a loss or regulariser, its gradient, and the optimiser's step."""

from typing import NamedTuple

import torch
from torch import nn

from .cuda_graphs import RunPhase, run_eagerly
from .division import WHOLE, Division, LossOfPart, Report
from .optimizer_steps import OptimizerStep, optimizer_step


class Phase(NamedTuple):
    """A loss or regulariser with its optimiser step: its name, and that of its gradient's norm in the statistics."""

    name: str
    gradient: str


class Execution(NamedTuple):
    """How the phases of a step run: the defaults do for every device, see `loop` for what is faster on CUDA, and for
    several processes and micro-batches."""

    run_phase: RunPhase = run_eagerly
    optimizer_step: OptimizerStep = optimizer_step
    division: Division = WHOLE

    def descend(
        self,
        phase: Phase,
        optimizer: torch.optim.Optimizer,
        network: nn.Module,
        loss_of: LossOfPart,
        *inputs: torch.Tensor,
    ) -> Report:
        """A step down the gradient of `loss_of(*inputs)`, which is as for `Division.gradient`. The report is without
        graph."""
        loss, report = self.division.gradient(optimizer, loss_of, *inputs)
        return report | {phase.gradient: self.optimizer_step(optimizer, loss, network, phase.name)}


EAGER = Execution()
