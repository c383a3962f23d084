"""The best network of a run by a metric, kept under a name of its own that no pruning touches."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from stylegan2ada.files import atomic_path, write_json

BEST_NETWORK = "best-network.safetensors"
BEST_RECORD = "best.json"
LOWER_IS_BETTER = ("fid", "kid", "ppl")  # beginnings of names; of others more is better


def metric_file(run_dir: Path, metric: str) -> Path:
    return run_dir / f"metric-{metric}.jsonl"


def read_lines(run_dir: Path, metric: str) -> list[dict]:
    """The lines of a metric's file that are whole; none where there is no file."""
    lines = []
    with contextlib.suppress(FileNotFoundError):
        for text in metric_file(run_dir, metric).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):  # cut off by a full disk, or a killed process
                line = json.loads(text)
                if isinstance(line, dict):
                    lines.append(line)
    return lines


def append_line(run_dir: Path, metric: str, line: str) -> None:
    """Adds a line, JSON without its end, to a metric's file."""
    with open(metric_file(run_dir, metric), "a", encoding="utf-8") as file:
        file.write(line + "\n")


def keep_best(run_dir: Path, metric: str, measured: Path, snapshot: str) -> dict | None:
    """Makes best-network.safetensors that of the best line of metric-<metric>.jsonl, and writes best.json about it.

    Nothing but the lines decides, so a run that went on has the best of all it has measured. Of equal ones, the first.
    A metric of several values goes by the first of them (precision, of precision and recall).

    Args:
        measured, snapshot: the file just measured, and its name in the lines; others are taken from the run folder.
    Returns:
        best.json's record, None where no line has a number.
    """
    lines = [line for line in read_lines(run_dir, metric) if _value(line) is not None]
    if not lines:
        return None
    sign = 1 if metric.startswith(LOWER_IS_BETTER) else -1
    for line in sorted(lines, key=lambda line: sign * _value(line)):  # sorting is stable
        record = {"metric": next(iter(line["results"])), "value": _value(line), "kimg": line["kimg"]}
        record["snapshot"] = line["snapshot_pkl"]
        if record == _read_record(run_dir) and (run_dir / BEST_NETWORK).is_file():
            return record
        newest = line is lines[-1] and line["snapshot_pkl"] == snapshot
        source = measured if newest else run_dir / line["snapshot_pkl"]
        if source.is_file():  # one that was pruned cannot be kept any more
            link_file(source, run_dir / BEST_NETWORK)
            write_json(run_dir / BEST_RECORD, record)
            return record
    return None


def link_file(source: Path, destination: Path) -> None:
    """A second name for a file, in the place of what had it; a copy where the file system has no hard links."""
    with atomic_path(destination) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _value(line: dict) -> float | None:
    results = line.get("results")
    value = next(iter(results.values()), None) if isinstance(results, dict) else None
    known = "kimg" in line and isinstance(line.get("snapshot_pkl"), str)
    return value if known and isinstance(value, int | float) and value == value else None


def _read_record(run_dir: Path) -> dict | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((run_dir / BEST_RECORD).read_text(encoding="utf-8"))
    return None
