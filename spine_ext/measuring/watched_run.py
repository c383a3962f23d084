"""The network snapshots of a run that is going on, as they appear; one that cannot be measured is passed over."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from stylegan2ada.processes import Processes

from .best_snapshot import read_lines
from .process import reason_of

INTERVAL_SEC = 10.0
SNAPSHOTS = "network-snapshot-*.safetensors"

Result = TypeVar("Result")


def new_snapshots(run_dir: Path, outdir: Path, metrics: Sequence[str], processes: Processes) -> Iterator[Path]:
    """Those that lack a line in `outdir` for one of the metrics, oldest first; then waits for more, endlessly.

    All processes get the same.
    """
    given: set[str] = set()
    while True:
        known = given | set.intersection(*(_measured(outdir, metric) for metric in metrics))
        names = sorted(path.name for path in run_dir.glob(SNAPSHOTS))
        name = processes.broadcast_text(next((name for name in names if name not in known), None))
        if name is None:
            time.sleep(INTERVAL_SEC)
        else:
            given.add(name)
            yield run_dir / name


def attempt(
    work: Callable[[], Result],
    expected: tuple[type[Exception], ...],
    name: str,
    processes: Processes,
    log: Callable[[str], None],
) -> Result | None:
    """What `work` gives; None in all processes, and a line in the log, where it raises an expected error in one.

    A snapshot may be pruned before all have read it, and that of a broken run holds NaN: the next may be good.
    """
    result, failure = None, None
    try:
        result = work()
    except expected as error:
        failure = error
    if not processes.any(failure is not None):
        return result
    if processes.is_main:
        log(f"{name} is not measured: {reason_of(failure) if failure else 'another process cannot read it'}")
    return None


def _measured(outdir: Path, metric: str) -> set[str]:
    """Names of the network files that a metric has lines of."""
    return {str(line.get("snapshot_pkl")) for line in read_lines(outdir, metric)}
