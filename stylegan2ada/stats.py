"""Statistics of a run: means per tick, their time, stats.jsonl and TensorBoard."""

import json
import math
import time
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from .errors import NonFiniteError
from .processes import ALONE, Processes
from .progress import format_duration

SHOWN_LOSSES = {"G": "Loss/G/loss", "D": "Loss/D/loss"}  # a discriminator update of another kind may have none


class RunningMeans:
    """Means of named values since the last `pop`, kept as tensors so that no step waits for the device.

    Of several processes, all add values of the same names; `pop` and `gather` are called by all at the same time.
    """

    def __init__(self, processes: Processes = ALONE) -> None:
        self._processes = processes
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
        """The means over all processes."""
        means = {name: total / count for name, (total, count) in self._totals().items()}
        self._sums, self._counts = {}, {}
        return means

    def gather(self) -> None:
        """Moves what all processes have to the main one, whose state is then that of them all."""
        if self._processes.world_size == 1:
            return
        for name, (total, count) in self._totals().items():
            is_main = self._processes.is_main
            self._sums[name] = torch.tensor(total if is_main else 0.0, dtype=torch.float64)
            self._counts[name] = int(count) if is_main else 0

    def _totals(self) -> dict[str, tuple[float, float]]:
        """Sum and count by name, in one exchange."""
        names = list(self._counts)
        sums, counts = [self._sums[name].item() for name in names], [self._counts[name] for name in names]
        totals = self._processes.totals([*sums, *counts])
        return dict(zip(names, zip(totals[: len(names)], totals[len(names) :], strict=True), strict=True))

    def state_dict(self) -> dict:
        """Of several processes: that of the main one, after `gather`."""
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: dict) -> None:
        """Of several processes: all load the same, and the main one keeps it."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        if not self._processes.is_main:
            self._sums = {name: torch.zeros_like(total) for name, total in self._sums.items()}
            self._counts = dict.fromkeys(self._counts, 0)


def read_statistics(run_dir: Path) -> list[dict[str, float]]:
    """The lines of stats.jsonl so far."""
    path = run_dir / "stats.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class StatsWriter:
    """Appends one JSON line per tick to stats.jsonl and the same numbers to TensorBoard.

    purge_after: TensorBoard forgets what an earlier process wrote for later steps (images) than this.
    """

    def __init__(self, run_dir: Path, purge_after: int = 0):
        self._jsonl = open(run_dir / "stats.jsonl", "a", encoding="utf-8")
        self._events = SummaryWriter(run_dir, purge_step=purge_after + 1)

    def write(self, means: dict[str, float], step_kimg: float, tolerate_non_finite: bool = False) -> None:
        """JSON knows neither NaN nor Inf: where they are tolerated, as null.

        Raises:
            NonFiniteError: a value is not finite; names all such.
        """
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad and not tolerate_non_finite:
            raise NonFiniteError(f"statistics at {step_kimg:.1f} kimg: the mean of {', '.join(bad)} is not finite")
        line = {**means, **dict.fromkeys(bad), "timestamp": time.time()}
        self._jsonl.write(json.dumps(line, allow_nan=False) + "\n")
        self._jsonl.flush()
        for name, value in means.items():
            self._events.add_scalar(name, value, global_step=round(step_kimg * 1000))
        self._events.flush()

    def close(self) -> None:
        self._jsonl.close()
        self._events.close()


class TickClock:
    """Times the ticks; time spent in snapshots is left out of the speed."""

    def __init__(self, kimg: float = 0.0, elapsed_sec: float = 0.0) -> None:
        """What a run that is continued had done, and how long it had taken."""
        self._tick_start = time.monotonic()
        self._start = self._tick_start - elapsed_sec
        self._kimg = kimg

    def elapsed_sec(self) -> float:
        return time.monotonic() - self._start

    def tick(self, means: dict[str, float], tick: int, kimg: float, p: float) -> dict[str, float]:
        """The tick's line of statistics: its means, and the progress, speed and augmentation."""
        now = time.monotonic()
        sec = now - self._tick_start
        sec_per_kimg = sec / max(kimg - self._kimg, 1e-9)
        self._tick_start, self._kimg = now, kimg
        return {
            **means,
            "Progress/tick": tick,
            "Progress/kimg": kimg,
            "Progress/augment": p,
            "Timing/total_sec": now - self._start,
            "Timing/sec_per_tick": sec,
            "Timing/sec_per_kimg": sec_per_kimg,
        }

    def skip(self) -> None:
        self._tick_start = time.monotonic()


def tick_text(line: dict[str, float]) -> str:
    """A tick's statistics as one line of the log."""
    losses = [f"{name} {line[key]:<6.3f}" for name, key in SHOWN_LOSSES.items() if key in line]
    return (
        f"tick {line['Progress/tick']:<4d} kimg {line['Progress/kimg']:<8.1f} "
        f"time {format_duration(line['Timing/total_sec']):<8s} sec/kimg {line['Timing/sec_per_kimg']:<7.2f} "
        f"loss {' '.join(losses)} augment {line['Progress/augment']:.3f}"
    )
