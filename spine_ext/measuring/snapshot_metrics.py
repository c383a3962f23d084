"""Metrics of every snapshot, in or beside the training; what goes wrong with them is told and stops nothing."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import torch

from stylegan2ada.checkpoint import load, read_snapshot
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.generator import Generator
from stylegan2ada.loop import SnapshotEvent
from stylegan2ada.recorder import OnSnapshot

from .best_snapshot import append_line, keep_best, link_file, read_lines
from .process import Measure, MeasuringProcess, MeasuringProcessLost, reason_of

Place = Literal["inline", "background", "auto"]
PLACES = ("auto", "background", "inline")
MAX_WAITING = 4  # snapshots; then training waits too, since each keeps a file that --keep would remove
MARGIN_BYTES = 4 << 30  # of a second CUDA context and the detectors, beside as much as training has

Log = Callable[[str], None]


class SnapshotMetrics:
    """An on_snapshot callable: a line in metric-<name>.jsonl for every metric, and the best network by the first one.

    A metric that fails gets a line with its reason, "error" in the place of "results", and one in the log. Only a
    network with NaN is an error: the run is broken then. Snapshots before that have no line, since their run was
    killed first or asked for other metrics, are measured before the first snapshot is.

    Used in `with`: at the end it waits for what is still being measured; after an error or a stop it does not, and a
    run that goes on measures it again.

    Args:
        place: "background" measures the snapshot's file in another process while training goes on, one at a time;
            "auto" does where the device is a GPU that has the memory, else "inline"; where that fails, as on GPUs for
            one process alone, it measures the next snapshots inline.
    """

    def __init__(self, measure: Measure, device: torch.device, place: Place = "auto"):
        self._measure, self._device, self._place, self._is_free = measure, device, place, place == "auto"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._begun: list[tuple[Future, _Snapshot]] = []
        self._process: MeasuringProcess | None = None
        self._process_lock = threading.Lock()
        self._is_first, self._is_stopped = True, False

    def __enter__(self) -> "SnapshotMetrics":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Raises NonFiniteError where a network was broken."""
        try:
            if kind is None:
                if waiting := [snapshot for future, snapshot in self._begun if not future.done()]:
                    waiting[0].log(f"training is over; still to be measured: {len(waiting)} snapshots")
                for future, _ in self._begun:
                    future.result()
        finally:
            self._stop()
            self._thread.shutdown(cancel_futures=True)
            for _, snapshot in self._begun:
                snapshot.release()

    def __call__(self, event: SnapshotEvent) -> None:
        if self._place == "auto":
            self._place = "background" if _has_room(self._device) else "inline"
        for future, _ in self._begun:
            if future.done() or self._place == "inline":
                future.result()
        if self._is_first:
            self._is_first = False
            for kimg, path in _snapshots_before(event, self._measure.names):
                self._begin(_Snapshot(path, kimg, event.run_dir, event.log), lambda path=path: self._load(path))
        self._begin(_Snapshot(event.path, event.kimg, event.run_dir, event.log), lambda: event.generator)

    def _load(self, path: Path) -> Generator:
        return load(path, self._device).generator

    def _begin(self, snapshot: "_Snapshot", generator: Callable[[], Generator]) -> None:
        if self._place == "inline":
            self._record(snapshot, lambda names: self._measure(names, generator()))
        else:
            waiting = [future for future, _ in self._begun if not future.done()]
            if len(waiting) >= MAX_WAITING:
                snapshot.log(f"  {len(waiting)} snapshots wait to be measured: training waits for the first of them")
                waiting[0].result()
            snapshot.hold()
            self._begun.append((self._thread.submit(self._measure_beside, snapshot), snapshot))

    def _measure_beside(self, snapshot: "_Snapshot") -> None:
        """In the thread, which waits for the process."""
        try:
            self._record(snapshot, lambda names: self._own_process().measure(names, snapshot.held))
        except NonFiniteError:
            raise
        except Exception as error:  # a result that cannot be written, say
            snapshot.log(f"  {snapshot.kimg:.1f} kimg: measuring failed: {reason_of(error)}")
        finally:
            snapshot.release()

    def _own_process(self) -> MeasuringProcess:
        """One that ended is replaced."""
        with self._process_lock:
            if self._is_stopped:
                raise MeasuringProcessLost("the run has stopped")
            if self._process is None or not self._process.is_alive:
                self._process = MeasuringProcess(self._measure, self._device)
            return self._process

    def _stop(self) -> None:
        with self._process_lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def _record(self, snapshot: "_Snapshot", measure: Callable[[Sequence[str]], list[dict]]) -> None:
        """Measures all metrics at once, for they share the work, or, where that fails, one by one."""
        names = [name for name in self._measure.names if not _has_line(snapshot.run_dir, name, "kimg", snapshot.kimg)]
        lines = _measured(names, measure)
        if self._is_stopped and any("error" in line for line in lines):
            return  # so that a run which goes on measures it
        if self._is_free and self._place == "background" and lines and all("error" in line for line in lines):
            self._place = "inline"
            snapshot.log("  measuring beside the training failed: the next snapshots are measured in between")
        for line in lines:
            snapshot.write(line)
            snapshot.log(f"  {snapshot.kimg:.1f} kimg: {_told(line)}")
            if line["metric"] == self._measure.names[0]:
                _keep_best(snapshot, line["metric"])


class _Snapshot:
    """A snapshot that is being measured. `held` is a second name of its file, which pruning does not know."""

    def __init__(self, path: Path, kimg: float, run_dir: Path, log: Log):
        self.path, self.kimg, self.run_dir, self.log = path, kimg, run_dir, log
        self.held = path

    def hold(self) -> None:
        """As `.*.tmp`, which `rewind` removes after a run that was killed."""
        held = self.run_dir / f".{self.path.name}.{secrets.token_hex(4)}.tmp"
        link_file(self.path, held)
        self.held = held

    def release(self) -> None:
        if self.held != self.path:
            self.held.unlink(missing_ok=True)

    def write(self, line: dict) -> None:
        line |= {"snapshot_pkl": self.path.name, "kimg": self.kimg, "timestamp": time.time()}
        append_line(self.run_dir, line["metric"], json.dumps(line))


def unfailing(callback: OnSnapshot, what: str) -> OnSnapshot:
    """`callback`, whose errors are told in the log and stop nothing; but a network with NaN does."""

    def call(event: SnapshotEvent) -> None:
        try:
            callback(event)
        except NonFiniteError:
            raise
        except Exception as error:
            event.log(f"  {event.kimg:.1f} kimg: {what} failed: {reason_of(error)}")

    return call


def _measured(names: Sequence[str], measure: Callable[[Sequence[str]], list[dict]]) -> list[dict]:
    """A line for each metric, of those that fail with the reason."""
    try:
        return measure(names) if names else []
    except NonFiniteError:
        raise
    except Exception as error:
        if len(names) > 1 and not isinstance(error, MeasuringProcessLost):
            return [line for name in names for line in _measured([name], measure)]
        return [{"metric": name, "error": reason_of(error)} for name in names]


def _keep_best(snapshot: _Snapshot, metric: str) -> None:
    try:
        best = keep_best(snapshot.run_dir, metric, snapshot.held, snapshot.path.name)
    except OSError as error:
        snapshot.log(f"  the best network cannot be kept: {error}")
        return
    if best is not None and best["kimg"] == snapshot.kimg:
        snapshot.log(f"  best so far by {best['metric']}")


def _told(line: dict) -> str:
    if "error" in line:
        return f"{line['metric']} failed: {line['error']}"
    return ", ".join(f"{name} {value:.4g}" for name, value in line["results"].items())


def _snapshots_before(event: SnapshotEvent, names: Sequence[str]) -> list[tuple[float, Path]]:
    """Earlier snapshots of the run in which a metric has no line, oldest first. Later ones are of a run that was put
    back, and will be written again."""
    found = []
    for path in sorted(event.run_dir.glob("network-snapshot-??????.safetensors")):
        if path == event.path or all(_has_line(event.run_dir, name, "snapshot_pkl", path.name) for name in names):
            continue
        try:
            kimg = read_snapshot(path)[1]
        except UserError as error:
            event.log(f"  {path.name} is not measured: {reason_of(error)}")
            continue
        if kimg < event.kimg and not all(_has_line(event.run_dir, name, "kimg", kimg) for name in names):
            found.append((kimg, path))
    return sorted(found)


def _has_line(run_dir: Path, name: str, key: str, value: object) -> bool:
    return any(line.get(key) == value for line in read_lines(run_dir, name))


def _has_room(device: torch.device) -> bool:
    """Whether a second process could take as much of the GPU as training has, and its detectors."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return free >= torch.cuda.memory_reserved(device) + MARGIN_BYTES
