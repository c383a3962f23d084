"""Training steps on tiny networks with everything on, divided among processes and micro-batches.

As a script, started by `launch`: runs all cases for this number of processes and saves what came out for each.
"""

import copy
import sys
from pathlib import Path

import torch

from stylegan2ada.ada import AdaController
from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.compute import set_dealer
from stylegan2ada.config import AugmentConfig, LossConfig, OptimizerConfig
from stylegan2ada.dataset import EndlessSampler
from stylegan2ada.discriminator import Discriminator
from stylegan2ada.division import Division
from stylegan2ada.ema import ema_decay, update_ema
from stylegan2ada.execution import Execution
from stylegan2ada.generator import Generator
from stylegan2ada.processes import ALONE, Processes, join_processes
from stylegan2ada.stats import RunningMeans
from stylegan2ada.updates import FakeSampler, GeneratorTerm, GeneratorUpdate, PlainDiscriminatorUpdate

BATCH, RESOLUTION, GROUP, STEPS = 8, 16, 2, 6
CASES = {  # processes, micro-batches, and changes
    "float64": (1, {}),
    "float32": (1, {"dtype": torch.float32}),
    "2 micro-batches": (2, {"path_lengths": False}),
    "2 micro-batches, path lengths": (2, {}),
}


class DividedSteps:
    """The same numbers, but for rounding, however the work is divided."""

    def __init__(
        self,
        processes: Processes = ALONE,
        micro_batches: int = 1,
        dtype: torch.dtype = torch.float64,
        path_lengths: bool = True,
        channels: int = 1,
    ):
        torch.manual_seed(0)
        size = {"channel_base": 64, "channel_max": 8}
        self.G = Generator(6, 2, 6, RESOLUTION, channels, {"num_layers": 2}, size)
        self.D = Discriminator(
            2,
            RESOLUTION,
            channels,
            mapping_kwargs={"num_layers": 1},
            epilogue_kwargs={"mbstd_group_size": GROUP},
            **size,
        )
        for name, parameter in self.G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.1)
        self.pipe = make_augment_pipe("bgcfnc")
        self.pipe.p.fill_(0.5)
        for part in (self.G, self.D, self.pipe):
            part.to(dtype)
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False)
        labels, images = torch.eye(2, dtype=dtype)[[0, 0, 1]], torch.randn(19, channels, RESOLUTION, RESOLUTION)
        self.division = Division(processes, micro_batches)
        for part in (self.G, self.pipe):
            set_dealer(part, self.division.dealer)
        device = torch.device("cpu")
        self.fakes = FakeSampler(self.G, labels, 0.9, device, self.division)
        reals = _batches(images.to(dtype), labels, processes)
        loss = LossConfig(r1_gamma=1.0, r1_interval=4, pl_interval=2 if path_lengths else 0)
        execution, optimizer = Execution(division=self.division), OptimizerConfig(0.002)
        terms = [GeneratorTerm("dark", 0.1, lambda images, labels: images.mean([1, 2, 3]) * labels[:, 0])]
        self.update_G = GeneratorUpdate(self.G, self.D, self.pipe, self.fakes, BATCH, loss, optimizer, terms, execution)
        self.update_D = PlainDiscriminatorUpdate(self.D, self.pipe, reals, loss, optimizer, execution)
        self.ada = AdaController(self.pipe.p, AugmentConfig(ada_kimg=0.1, interval=2), processes)
        self.means = RunningMeans(processes)
        self.images_seen = 0

    def run(self, steps: int = STEPS) -> dict[str, torch.Tensor]:
        """Everything that lasts, the statistics, and the random state."""
        for _ in range(steps):
            self.means.add(self.update_G.step())
            result = self.update_D.step(self.fakes.draw_images)
            self.means.add(result.report)
            self.fakes.share_average()
            update_ema(self.G_ema, self.G, ema_decay(result.num_images, self.images_seen, 0.05, 0.5))
            self.images_seen += result.num_images
            self.ada.observe(result.real_logits)
        tensors = {"images_seen": torch.tensor(self.images_seen), "pl_mean": self.update_G.state_dict()["pl_mean"]}
        tensors |= {name: torch.tensor(mean) for name, mean in self.means.pop().items()}
        for name in ("G", "D", "G_ema", "pipe"):
            tensors |= {f"{name}/{key}": value for key, value in getattr(self, name).state_dict().items()}
        return tensors | {"random": torch.get_rng_state()}


def _batches(images: torch.Tensor, labels: torch.Tensor, processes: Processes):
    """This process' images out of the endless stream."""
    indices = iter(EndlessSampler(len(images), seed=3, rank=processes.rank, world_size=processes.world_size))
    while True:
        batch = torch.tensor([next(indices) for _ in range(BATCH // processes.world_size)])
        yield images[batch], labels[batch % len(labels)]


def run_case(name: str, processes: Processes = ALONE, whole: bool = False) -> dict[str, torch.Tensor]:
    """whole: in one piece."""
    micro_batches, options = CASES[name]
    torch.set_default_dtype(options.get("dtype", torch.float64))
    try:
        return DividedSteps(processes, 1 if whole else micro_batches, **options).run()
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    with join_processes("cpu") as group:
        for case in CASES:
            torch.save(run_case(case, group), Path(sys.argv[1]) / f"{case} {group.rank}.pt")
