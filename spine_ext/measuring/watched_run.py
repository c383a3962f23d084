"""The network snapshots of a run that is going on, as they appear."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stylegan2ada.processes import Processes

from .best_snapshot import read_lines

INTERVAL_SEC = 10.0
SNAPSHOTS = "network-snapshot-*.safetensors"


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


def _measured(outdir: Path, metric: str) -> set[str]:
    """Names of the network files that a metric has lines of."""
    return {str(line.get("snapshot_pkl")) for line in read_lines(outdir, metric)}
