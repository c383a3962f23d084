"""What a run leaves in its folder: statistics at every tick; grid, networks, state and callbacks at a snapshot."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .background import BackgroundWriter
from .checkpoint import write_snapshot
from .config import TrainingConfig
from .dataset import ImageDataset
from .diversity import class_diversity, diversity_statistics
from .doctor import new_findings
from .generator import Generator
from .grids import COLUMNS, FakeGrid, real_grid
from .images import save_grid
from .networks import Networks
from .optimizer_steps import SkippingSteps
from .processes import ALONE, Processes
from .run_folder import prune_snapshots, rewind, snapshot_path, write_options
from .stats import RunningMeans, StatsWriter, TickClock, read_statistics, tick_text
from .tensor_file import DamagedFile, read_tensors
from .training_state import pack, state_path, write_state
from .updates import Report

STATE_INTERVAL_SEC = 600.0  # snapshots of large networks lie hours apart


class SnapshotEvent(NamedTuple):
    """What an on_snapshot callable gets: the moving-average generator (eval mode) and where the run stands."""

    generator: Generator
    kimg: float
    path: Path
    run_dir: Path
    log: Callable[[str], None]


OnSnapshot = Callable[[SnapshotEvent], None]


class Recorder:
    """Owns the files of a run. `state`, as `state_dict` gives it, is None for a new run, whose first files it writes;
    otherwise the folder is put back to where that state was: what came after it is done again."""

    def __init__(
        self,
        config: TrainingConfig,
        networks: Networks,
        dataset: ImageDataset,
        skips: SkippingSteps | None,
        run_dir: Path,
        on_snapshot: Sequence[OnSnapshot],
        log: Callable[[str], None],
        state: dict | None = None,
        processes: Processes = ALONE,
    ):
        self._config, self._networks, self._skips, self.run_dir = config, networks, skips, run_dir
        self._on_snapshot, self._log = on_snapshot, log
        self._means, self._files, self._processes = RunningMeans(processes), BackgroundWriter(), processes
        self._ticks = self._ticks_at_snapshot = 0
        kimg = elapsed_sec = 0.0
        if state is not None:
            kimg, elapsed_sec = state["kimg"], state["elapsed_sec"]
            self._ticks, self._ticks_at_snapshot = state["ticks"], state["ticks_at_snapshot"]
            self._means.load_state_dict(state["means"])
        write_options(run_dir, config)
        rewind(run_dir, self._ticks, kimg)
        self._grid = FakeGrid(networks.G, config.seed, config.batch_size)
        reals, classes = real_grid(dataset, config.seed)
        self._real_diversity = class_diversity(reals, classes)
        if state is None:
            save_grid(run_dir / "reals.png", reals, COLUMNS)
            self._grid.save(run_dir / "fakes_init.png", networks.G_ema)
        self._history = read_statistics(run_dir)
        self._stats = StatsWriter(run_dir, purge_after=round(kimg * 1000))
        self._clock = TickClock(kimg, elapsed_sec)
        self._saved_sec = time.monotonic()
        self._fakes: np.ndarray | None = None  # from the tick to the report of a snapshot, which shows them

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._stats.close()
        finally:
            self._files.close()

    def state_dict(self, kimg: float) -> dict:
        return {
            "kimg": kimg,
            "ticks": self._ticks,
            "ticks_at_snapshot": self._ticks_at_snapshot,
            "means": self._means.state_dict(),
            "elapsed_sec": self._clock.elapsed_sec(),
        }

    def add(self, report: Report) -> None:
        self._means.add(report)

    def tick(self, kimg: float, is_last: bool = False) -> None:
        """Statistics since the tick before, and what the doctor finds in them. is_last: a snapshot follows for sure."""
        self._ticks += 1
        self._files.check()
        skipped = self._skips.check() if self._skips is not None else {}
        p = self._networks.augment_pipe.p.item()
        line = self._clock.tick(self._means.pop(), self._ticks, kimg, p)
        line |= {f"Skipped/{phase.replace(' ', '_')}": count for phase, count in skipped.items()}
        if is_last or self.snapshot_is_due:
            self._fakes = self._grid.images(self._networks.G_ema)
            fakes = class_diversity(self._fakes, self._grid.classes)
            line |= diversity_statistics(fakes, self._real_diversity)
        self._stats.write(line, kimg, tolerate_non_finite=any(skipped.values()))
        self._log(tick_text(line))
        self._history.append(line)
        for finding in new_findings(self._history, self._config):
            self._log(f"  doctor: {finding}")

    @property
    def snapshot_is_due(self) -> bool:
        return self._ticks - self._ticks_at_snapshot >= self._config.snapshot_ticks

    def snapshot(self, kimg: float, make_state: Callable[[], dict]) -> None:
        """Takes a copy of the networks and of the run's state and begins to write both."""
        self._ticks_at_snapshot = self._ticks
        self._begin_to_write(_write_both, kimg, make_state)

    def save_state(self, kimg: float, make_state: Callable[[], dict]) -> None:
        """The same for the state alone."""
        self._begin_to_write(_write_state, kimg, make_state)

    def _begin_to_write(self, write: Callable[..., None], kimg: float, make_state: Callable[[], dict]) -> None:
        self._means.gather()
        state = pack(make_state())
        self._files.submit(functools.partial(write, self.run_dir, self._networks.copies(), state, self._config, kimg))
        self._saved_sec = time.monotonic()

    @property
    def is_state_due(self) -> bool:
        """Whether so much time has passed since the last state that a crash would cost too much of it."""
        return time.monotonic() - self._saved_sec >= STATE_INTERVAL_SEC

    def wait(self) -> None:
        """Until all that was begun is on disk."""
        self._files.wait()
        self._processes.barrier()

    def report_snapshot(self, kimg: float) -> None:
        """The grid and the callbacks of the snapshot that was taken at `kimg`.

        The random state is left as it was: a run whose metrics draw numbers is the run without metrics.
        """
        path = snapshot_path(self.run_dir, kimg)
        self._files.wait()  # a callback may read the file
        fakes = self._grid.images(self._networks.G_ema) if self._fakes is None else self._fakes
        save_grid(self.run_dir / f"fakes{path.stem.rpartition('-')[2]}.png", fakes, COLUMNS)
        self._fakes = None
        device = self._networks.augment_pipe.p.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for callback in self._on_snapshot:
                callback(SnapshotEvent(self._networks.G_ema, kimg, path, self.run_dir, self._log))
        self._processes.barrier()
        self._clock.skip()

    def repair_snapshot(self, kimg: float) -> None:
        """After a restart at a snapshot: writes its network file again if that is missing or damaged."""
        path = snapshot_path(self.run_dir, kimg)
        try:
            read_tensors(path)
        except DamagedFile:
            self._log(f"{path.name} is missing or damaged: it is written again out of the training state")
            write_snapshot(path, self._networks.copies(), self._config, kimg)


def _write_both(
    run_dir: Path, networks: dict[str, torch.Tensor], state: tuple, config: TrainingConfig, kimg: float
) -> None:
    write_snapshot(snapshot_path(run_dir, kimg), networks, config, kimg)
    _write_state(run_dir, networks, state, config, kimg)
    if config.keep_snapshots is not None:
        prune_snapshots(run_dir, config.keep_snapshots)


def _write_state(
    run_dir: Path, networks: dict[str, torch.Tensor], state: tuple, config: TrainingConfig, kimg: float
) -> None:
    write_state(state_path(run_dir, round(kimg * 1000)), networks, state, config, kimg)
