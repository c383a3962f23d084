"""The networks of a run: made, started from another run's, put back to where a stopped run was."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .augment import AugmentPipe, make_augment_pipe
from .checkpoint import PARTS, copies, make_discriminator, make_generator, of_part, read_snapshot
from .compute import set_kernels, set_precision
from .config import TrainingConfig
from .discriminator import Discriminator
from .generator import Generator
from .transfer import copy_matching


@dataclass(frozen=True)
class Networks:
    """The parts of a snapshot. G_ema, the moving average, is what is shown and measured."""

    G: Generator
    D: Discriminator
    G_ema: Generator
    augment_pipe: AugmentPipe

    def copies(self) -> dict[str, torch.Tensor]:
        """`part/name` -> tensor, in the CPU's memory and nobody else's."""
        return copies({part: getattr(self, part) for part in PARTS})

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """The reverse of `copies`, in place."""
        for part in PARTS:
            getattr(self, part).load_state_dict(of_part(part, tensors))


def make_networks(config: TrainingConfig, device: torch.device) -> Networks:
    G = make_generator(config).to(device)
    D = make_discriminator(config).to(device)
    pipe = make_augment_pipe(config.augment.pipe).to(device)
    pipe.p.fill_(config.augment.p)
    G_ema = copy.deepcopy(G).eval().requires_grad_(False)
    for network in (G, D, G_ema, pipe):
        set_kernels(network, config.kernels)
    for network in (G, D):  # the average, which is shown and measured, computes in float32 as whoever loads it will
        set_precision(network, config.precision)
    return Networks(G, D, G_ema, pipe)


def take_over(networks: Networks, source: str, log: Callable[[str], None]) -> None:
    """Transfer learning: whatever fits of another run's networks."""
    _, kimg, tensors = read_snapshot(source)
    log(f"starting from {source} ({kimg:.1f} kimg)")
    for part in ("G", "D", "G_ema"):
        log(f"  {part}: {copy_matching(getattr(networks, part), of_part(part, tensors)).summary()}")
