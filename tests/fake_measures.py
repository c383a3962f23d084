"""A measure whose result, or failure, is written into the network: its module can be imported by another process."""

import dataclasses
import os
import time
from pathlib import Path

import torch

from stylegan2ada.checkpoint import load, save_snapshot
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.generator import Generator
from stylegan2ada.loop import SnapshotEvent
from tests.tiny_networks import save_network

BROKEN, FAILING, DEADLY, ENDLESS = 1000.0, 2000.0, 3000.0, 4000.0


@dataclasses.dataclass
class FakeMeasure:
    """Every metric's value is the first number of the mean of W; `failing` raises for its name."""

    names: tuple[str, ...] = ("fid5k_full",)
    failing: str | None = None

    def __call__(self, names: list[str], generator: Generator) -> list[dict]:
        value = round(generator.mapping.w_avg[0].item(), 3)
        if value == BROKEN:
            raise NonFiniteError("the image of generator, number 0 holds NaN or Inf: the network is broken")
        if value == FAILING or self.failing in names:
            raise ValueError("too few images\nand more lines")
        if value == DEADLY:
            os._exit(9)
        if value == ENDLESS:
            time.sleep(600)
        return [{"metric": name, "results": {name: value}, "seed": 0} for name in names]


class Snapshots:
    """Network files of a run folder, with the events that a run would send; `lines` is its log."""

    def __init__(self, run_dir: Path):
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir, self.lines = run_dir, []
        self._made = load(save_network(run_dir / ".pattern.safetensors"))

    def event(self, kimg: float, value: float) -> SnapshotEvent:
        """Writes the snapshot, too."""
        path = self.run_dir / f"network-snapshot-{round(kimg):06d}.safetensors"
        self._made.generator.mapping.w_avg[0] = torch.tensor(value)
        save_snapshot(path, self._made.modules(), self._made.config, kimg)
        return SnapshotEvent(load(path).generator, kimg, path, self.run_dir, self.lines.append)
