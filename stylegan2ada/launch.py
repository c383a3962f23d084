"""Several processes of one command on this machine (`--gpus=N`), started, watched and ended together.

Each runs the same command line; its environment says which one it is, as torchrun's does. The first has the terminal.
What the others print is kept, and shown when it says why the run ended.
"""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from .processes import LOST_STATUS, STORE_VARIABLE

GRACE_SEC = 30.0  # from SIGTERM to SIGKILL, once a process has died
MOMENT_SEC = 3.0  # a mistake that all see ends them one shortly after the other
POLL_SEC = 0.1
KEPT_LINES = 200


def is_launched() -> bool:
    """Whether this process is one of several already, here or under torchrun."""
    return "RANK" in os.environ


def launch(count: int, command: Sequence[str] | None = None) -> int:
    """Runs `command` (default: this process' own command line) in `count` processes until all have ended.

    When one dies, the others are told to end (SIGTERM), and killed after a grace. SIGINT and SIGTERM are handed on, and
    what the processes make of it is waited for. Should this process die itself, the others end too: their standard
    input closes (`processes.join_processes`).

    Returns: the exit status for this process: 0 when all went well; else that of the process which ended first for a
    reason of its own, 128 + n where signal n ended it.
    """
    if command is None:
        command = [sys.executable, *sys.orig_argv[1:]]
    workers: list[_Worker] = []
    with tempfile.TemporaryDirectory(prefix="processes-") as folder, _handed_on(workers) as requests:
        try:
            for rank in range(count):
                workers.append(_Worker(command, rank, count, Path(folder) / "store"))
            return _watch(workers, requests)
        finally:
            _end(workers)


class _Worker:
    """One process. All but the first speak into a buffer of their last lines."""

    def __init__(self, command: Sequence[str], rank: int, count: int, store: Path):
        self.rank, self._lines = rank, collections.deque(maxlen=KEPT_LINES)
        output = None if rank == 0 else subprocess.PIPE
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        environment = os.environ | {name: str(value) for name, value in names.items()} | {STORE_VARIABLE: str(store)}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT if rank else None,
            start_new_session=True,  # a terminal's Ctrl-C comes by way of this process, and once
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[bytes] | None) -> None:
        for line in pipe or ():
            self._lines.append(line.decode(errors="replace").rstrip())

    def status(self) -> int | None:
        """As `subprocess` has it: None while it runs, -n where signal n ended it."""
        return self.process.poll()

    def show(self) -> None:
        """What it said last, to stderr."""
        self._reader.join(timeout=1)  # all of it is here soon, unless a child of the process keeps the pipe open
        for line in list(self._lines):
            print(f"[process {self.rank}] {line}", file=sys.stderr)

    def send(self, number: int) -> None:
        if self.status() is None:
            self.process.send_signal(number)

    def close(self) -> None:
        self.process.stdin.close()
        self._reader.join(timeout=1)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


def _watch(workers: list[_Worker], requests: list[int]) -> int:
    """Until all have ended, or one has failed, or the first one has ended as requested; then the exit status."""
    main = workers[0]
    while True:
        statuses = [worker.status() for worker in workers]
        if any(status is not None and (status < 0 or (status > 0 and not requests)) for status in statuses):
            return _explain(workers, requests)
        if (requests and main.status() is not None) or None not in statuses:
            return main.status()
        time.sleep(POLL_SEC)


def _explain(workers: list[_Worker], requests: list[int]) -> int:
    """Says why the run ended, unless the first process says so itself on the terminal. Returns the exit status."""
    main = workers[0]
    _wait(workers, MOMENT_SEC)  # those that lost the connection to the culprit end too, perhaps before it
    failed = [worker for worker in workers if worker.status()]
    culprit = min(failed, key=_innocence)
    status = culprit.status()
    if -status in requests or (status > 0 and main.status() == status):
        return 128 - status if status < 0 else status
    culprit.show()
    how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
    print(f"Error: process {culprit.rank} of {len(workers)} {how}; the others are stopped", file=sys.stderr, flush=True)
    return 128 - status if status < 0 else status


def _innocence(worker: _Worker) -> int:
    """A signal comes from outside; who exits says why, unless that is the loss of another."""
    if worker.status() < 0:
        return 0
    return 2 if worker.status() == LOST_STATUS else 1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.send(signal.SIGTERM)
    if not _wait(workers, GRACE_SEC):
        for worker in workers:
            worker.send(signal.SIGKILL)
        _wait(workers, GRACE_SEC)
    for worker in workers:
        worker.close()


def _wait(workers: list[_Worker], seconds: float) -> bool:
    """Whether all ended in time."""
    deadline = time.monotonic() + seconds
    while any(worker.status() is None for worker in workers):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SEC)
    return True


@contextlib.contextmanager
def _handed_on(workers: list[_Worker]) -> Iterator[list[int]]:
    """Inside, signals that would end this process go to its workers instead; yields the list of those that came."""
    requests: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        requests.append(number)
        for worker in workers:
            worker.send(number)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # under nohup, not SIGHUP
    before = {number: signal.signal(number, hand_on) for number in heeded}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
