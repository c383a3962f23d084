"""Metrics in a process of their own, so that training goes on meanwhile."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import torch

from stylegan2ada.checkpoint import load
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.generator import Generator
from stylegan2ada.stop_request import SIGNALS


class Measure(Protocol):
    """Measures networks by the metrics in `names`; can be pickled, and opens what it needs where it is called."""

    names: tuple[str, ...]

    def __call__(self, names: Sequence[str], generator: Generator) -> list[dict]:
        """One record per name, in order: "metric", "results" (name -> number), and whatever else belongs to it."""


class MeasuringProcessLost(RuntimeError):
    """The process ended before it answered: killed, out of memory, or broken down."""


class MeasurementFailed(RuntimeError):
    """The other process could not measure; the message is its reason."""


class MeasuringProcess:
    """A process that measures one snapshot after the other. It ends with this one, however that ends."""

    def __init__(self, measure: Measure, device: torch.device):
        context = multiprocessing.get_context("spawn")  # a fork would share CUDA's state
        self._connection, theirs = context.Pipe()
        # Stands apart from what the terminal and a cluster send to all processes of a run: the main one ends it
        self._process = context.Process(target=_serve, args=(measure, device, theirs), name="metrics", daemon=True)
        self._process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def measure(self, names: Sequence[str], snapshot: Path) -> list[dict]:
        """Waits for the records.

        Raises:
            NonFiniteError: the network holds NaN or Inf.
            MeasurementFailed, MeasuringProcessLost
        """
        try:
            self._connection.send((tuple(names), snapshot))
            kind, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(timeout=5)
            raise MeasuringProcessLost(f"its process ended (exit code {self._process.exitcode})") from error
        if kind == "records":
            return answer
        raise (NonFiniteError if kind == "non-finite" else MeasurementFailed)(answer)

    def kill(self) -> None:
        """At once; whoever waits for an answer gets MeasuringProcessLost."""
        self._process.kill()
        self._process.join()


def reason_of(error: BaseException) -> str:
    """One line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _serve(measure: Measure, device: torch.device, connection: Connection) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, name="parent watch", daemon=True).start()
    if device.index is not None:
        torch.cuda.set_device(device)
    while True:
        try:
            names, snapshot = connection.recv()
        except EOFError:
            return
        connection.send(_answer(measure, names, snapshot, device))
        if device.type == "cuda":
            torch.cuda.empty_cache()  # until the next snapshot, the memory is the training's


def _answer(measure: Measure, names: Sequence[str], snapshot: Path, device: torch.device) -> tuple[str, object]:
    try:
        return "records", measure(names, load(snapshot, device).generator)
    except NonFiniteError as error:
        return "non-finite", str(error)
    except Exception as error:  # whatever it is, the other side tells the user
        return "failed", reason_of(error)


def _end_with_the_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
