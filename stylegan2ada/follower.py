"""What the other processes of a run do where the main one records."""

from collections.abc import Callable
from pathlib import Path

from .config import TrainingConfig
from .optimizer_steps import SkippingSteps
from .processes import Processes
from .stats import RunningMeans
from .updates import Report


class Follower:
    """Stands where the main process has its `Recorder`: the same exchanges in the same order, waiting for it to finish
    its files, and neither files nor messages. Ticks and snapshots fall due at the same step."""

    def __init__(
        self,
        config: TrainingConfig,
        skips: SkippingSteps | None,
        run_dir: Path,
        processes: Processes,
        state: dict | None = None,
    ):
        """state: as for `Recorder`."""
        self._config, self._skips, self.run_dir, self._processes = config, skips, run_dir, processes
        self._means = RunningMeans(processes)
        self._ticks = self._ticks_at_snapshot = 0
        if state is not None:
            self._ticks, self._ticks_at_snapshot = state["ticks"], state["ticks_at_snapshot"]
            self._means.load_state_dict(state["means"])

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def add(self, report: Report) -> None:
        self._means.add(report)

    def tick(self, kimg: float, is_last: bool = False) -> None:
        self._ticks += 1
        if self._skips is not None:
            self._skips.check()
        self._means.pop()

    @property
    def snapshot_is_due(self) -> bool:
        return self._ticks - self._ticks_at_snapshot >= self._config.snapshot_ticks

    @property
    def is_state_due(self) -> bool:
        return False  # the main process says when

    def snapshot(self, kimg: float, make_state: Callable[[], dict]) -> None:
        self._ticks_at_snapshot = self._ticks
        self._means.gather()

    def save_state(self, kimg: float, make_state: Callable[[], dict]) -> None:
        self._means.gather()

    def wait(self) -> None:
        self._processes.barrier()

    def report_snapshot(self, kimg: float) -> None:
        self._processes.barrier()

    def repair_snapshot(self, kimg: float) -> None:
        pass
