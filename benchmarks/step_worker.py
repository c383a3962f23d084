"""One network pair in a process of its own, which works only when it is asked to: both ends of the pipe.

A worker reads one JSON line per request and answers with one. First its StepSetup, answered when it is ready; then
{"repeats": n}, answered with the seconds of each phase. It ends when the pipe does. What it prints goes to a log.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from stylegan2ada.allocator import keep_freed_memory
from stylegan2ada.errors import UserError

from .machine import OthersClock, peak_memory_bytes
from .our_step import OurSteps
from .peer_step import PeerSteps
from .step_setup import Seconds, Steps, StepSetup, as_json

ROOT = Path(__file__).resolve().parent.parent
TELLING = ("plugin", "falling back", "failed", "graph")  # in what is printed of kernels and CUDA graphs


@dataclass(frozen=True)
class Ready:
    facts: list[str]
    num_parameters: list[int]
    threads: int


@dataclass(frozen=True)
class Measured:
    """`memory_bytes`: the most so far. CPU: of the whole process. CUDA: allocated, and reserved by the allocator.

    `others_cores`: how many cores other processes kept busy meanwhile; None: not known.
    """

    seconds: Seconds
    memory_bytes: list[int]
    others_cores: float | None


class Worker:
    """The side that asks."""

    def __init__(self, name: str, setup: StepSetup, process: subprocess.Popen, log: IO[str]):
        self._name, self._process, self._log = name, process, log
        self.ready = Ready(**self._ask(as_json(setup)))

    def measure(self, repeats: int) -> Measured:
        return Measured(**self._ask({"repeats": repeats}))

    def remarks(self) -> list[str]:
        """Lines it printed that tell whether kernels were built and graphs recorded."""
        self._log.seek(0)
        lines = dict.fromkeys(" ".join(line.split()) for line in self._log)
        return [line[:200] for line in lines if any(word in line.lower() for word in TELLING)]

    def _ask(self, request: dict) -> dict:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            status = self._process.wait()
            raise UserError(f"{self._name}: its process ended (status {status}; below 0: signal); {self._last_line()}")
        answer = json.loads(answer)
        if "error" in answer:
            raise UserError(f"{self._name}: {answer['error']}")
        return answer

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return f"it said last: {lines[-1][:200]}" if lines else "it said nothing; was there enough memory?"


@contextlib.contextmanager
def start_worker(name: str, setup: StepSetup) -> Iterator[Worker]:
    """A ready worker; its process ends with the block."""
    command = [sys.executable, "-m", "benchmarks.step_worker"]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            yield Worker(name, setup, process, log)
        finally:
            process.kill()  # it holds nothing that would have to be saved


def main() -> None:
    """The side that answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints, prints into the log
    requests = iter(sys.stdin)
    try:
        setup = StepSetup(**json.loads(next(requests)))
        for answer in _answers(setup, requests):
            print(json.dumps(answer), file=answers, flush=True)
    except Exception as error:
        print(json.dumps({"error": _one_line(error)}), file=answers, flush=True)
        sys.exit(1)


def _answers(setup: StepSetup, requests: Iterator[str]) -> Iterator[dict]:
    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    torch.manual_seed(0)
    if setup.keep_freed_memory:
        keep_freed_memory()
    steps = _make_steps(setup)
    yield {"facts": steps.facts, "num_parameters": steps.num_parameters, "threads": torch.get_num_threads()}
    for line in requests:
        others = OthersClock()
        seconds = steps.measure(json.loads(line)["repeats"])
        yield {"seconds": seconds, "memory_bytes": _memory(setup.device), "others_cores": others.cores()}


def _make_steps(setup: StepSetup) -> Steps:
    return OurSteps(setup) if setup.peer is None else PeerSteps(setup)


def _memory(device: str) -> list[int]:
    if device == "cuda":
        return [torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()]
    return [peak_memory_bytes()]


def _one_line(error: Exception) -> str:
    """What went wrong and where, without a line of source: it may be another's."""
    if isinstance(error, UserError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text} (line {frame.lineno} of {Path(frame.filename).name})"


if __name__ == "__main__":
    main()
