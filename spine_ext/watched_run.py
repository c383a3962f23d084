"""The network snapshots of a run that is going on, as they appear."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stylegan2ada.processes import Processes

INTERVAL_SEC = 10.0
SNAPSHOTS = "network-snapshot-*.safetensors"


def new_snapshots(run_dir: Path, outdir: Path, metrics: Sequence[str], processes: Processes) -> Iterator[Path]:
    """Those that lack a line in `outdir` for one of the metrics, oldest first; then waits for more, endlessly.

    All processes get the same.
    """
    given: set[str] = set()
    while True:
        known = given | set.intersection(*(_measured(outdir / f"metric-{metric}.jsonl") for metric in metrics))
        names = sorted(path.name for path in run_dir.glob(SNAPSHOTS))
        name = processes.broadcast_text(next((name for name in names if name not in known), None))
        if name is None:
            time.sleep(INTERVAL_SEC)
        else:
            given.add(name)
            yield run_dir / name


def _measured(path: Path) -> set[str]:
    """Names of the network files that a metric-<name>.jsonl has lines of."""
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, AttributeError):  # a line that was cut off names none
            found.add(str(json.loads(line).get("snapshot_pkl")))
    return found
