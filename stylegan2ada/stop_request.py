"""SIGINT (Ctrl-C), SIGTERM (clusters pre-empt) and SIGHUP (the terminal is gone) as a request to stop at the next step,
so that the run is saved."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
IMPATIENT_AFTER_SEC = 1.0  # one Ctrl-C may arrive twice: from the terminal, and from whoever started the process


class TrainingStopped(Exception):
    """Training was asked to stop and has saved itself in `run_dir`; `signal_number` says by what."""

    def __init__(self, signal_number: int, kimg: float, run_dir: Path):
        super().__init__(f"stopped by {signal.Signals(signal_number).name} at {kimg:.1f} kimg")
        self.signal_number, self.run_dir = signal_number, run_dir


class StopRequest:
    """Inside `with`, a signal only sets `signal_number`; a second Ctrl-C stops at once, as it does elsewhere.

    Python delivers signals to the main thread alone: in another one this does nothing.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._received_sec = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
            self._before = {number: signal.signal(number, self._receive) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number, self._received_sec = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._received_sec > IMPATIENT_AFTER_SEC:
            raise KeyboardInterrupt
