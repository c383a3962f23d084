"""What one worker of the step benchmark runs: the settings of --cfg=auto, the same for us and for a peer."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from stylegan2ada.config import DataConfig, TrainingConfig
from stylegan2ada.options import RunOptions, resolve_config

# How often a phase runs per step of training: path lengths every 4th step, R1 every 16th (StyleGAN2, 3.1 and app. B).
PHASES = {"Gmain": 1.0, "Greg": 1 / 4, "Dmain": 1.0, "Dreg": 1 / 16}
AUGMENT_P = 0.5
CLASSES = ("normal", "abnormal")

Seconds = dict[str, float]  # per phase


@dataclass(frozen=True)
class StepSetup:
    """`peer` None: our own networks; else the checkout whose classes run. `channel_base` None: that of --cfg=auto.

    `cuda_graphs` is for ours, on CUDA.
    `precision` fp32, bf16 or fp16; a peer knows fp32 and its own mixture, which is fp16.
    """

    resolution_px: int
    batch: int
    device: str
    precision: str
    kernels: str
    aug: str
    threads: int | None
    channel_base: int | None
    keep_freed_memory: bool
    cuda_graphs: bool = True
    peer: str | None = None

    def training_config(self) -> TrainingConfig:
        """Grey images of two classes; raises UserError for sizes that no run could have."""
        data = DataConfig("random images", self.resolution_px, 1, self.batch, len(CLASSES), CLASSES)
        options = RunOptions(
            cfg="auto", batch=self.batch, channel_base=self.channel_base,
            precision=self.precision, kernels=self.kernels,
            aug="noaug" if self.aug == "noaug" else "fixed",
            augpipe=None if self.aug == "noaug" else self.aug,
            p=None if self.aug == "noaug" else AUGMENT_P,
        )  # fmt: skip
        return resolve_config(options, data, torch.device(self.device))


class Steps(Protocol):
    """Networks and optimisers, ready to be timed."""

    facts: list[str]  # what the table should know: precision, kernels
    num_parameters: tuple[int, int]  # of G and of D

    def measure(self, repeats: int) -> Seconds:
        """Runs every phase `repeats` times; the median of each."""
        ...


def random_reals(config: TrainingConfig, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch of images (N,1,H,W) in [-1,1] and labels (N,K)."""
    side = config.data.resolution_px
    images = torch.rand([config.batch_size, config.data.num_channels, side, side], device=device) * 2 - 1
    labels = torch.eye(len(CLASSES), device=device)[torch.arange(config.batch_size) % len(CLASSES)]
    return images, labels


def timed(function: Callable[[], object], device: torch.device) -> tuple[float, object]:
    """Seconds that `function` took, the device's work included, and its result."""
    _finish(device)
    start = time.perf_counter()
    result = function()
    _finish(device)
    return time.perf_counter() - start, result


def step_seconds(seconds: Seconds) -> float:
    """Of one step of training in the mean: every phase as often as it runs."""
    return sum(seconds[phase] * share for phase, share in PHASES.items())


def count_parameters(*networks: torch.nn.Module) -> tuple[int, ...]:
    return tuple(sum(parameter.numel() for parameter in network.parameters()) for network in networks)


def as_json(setup: StepSetup) -> dict:
    return dataclasses.asdict(setup)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
