"""Statistics of a run: means per tick, stats.jsonl and TensorBoard."""

import json
import time
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter


class RunningMeans:
    """Means of named values since the last `pop`, kept as tensors so that no step waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            if value.numel() == 0:  # of an empty batch, as Poisson sampling draws it at times
                continue
            total = value.detach().double().sum() if value.device.type == "cpu" else value.detach().float().sum()
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] = self._counts.get(name, 0) + value.numel()

    def pop(self) -> dict[str, float]:
        means = {name: self._sums[name].item() / count for name, count in self._counts.items()}
        self._sums, self._counts = {}, {}
        return means


class StatsWriter:
    """Appends one JSON line per tick to stats.jsonl and the same numbers to TensorBoard."""

    def __init__(self, run_dir: Path):
        self._jsonl = open(run_dir / "stats.jsonl", "a", encoding="utf-8")
        self._events = SummaryWriter(run_dir)

    def write(self, means: dict[str, float], step_kimg: float) -> None:
        line = {**means, "timestamp": time.time()}
        self._jsonl.write(json.dumps(line, allow_nan=False) + "\n")
        self._jsonl.flush()
        for name, value in means.items():
            self._events.add_scalar(name, value, global_step=round(step_kimg * 1000))
        self._events.flush()

    def close(self) -> None:
        self._jsonl.close()
        self._events.close()
