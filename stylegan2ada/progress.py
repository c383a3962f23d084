"""A progress line for long work: count, rate and time left, on stderr."""

import sys
import time

LOG_INTERVAL_SEC = 15.0
TERMINAL_INTERVAL_SEC = 0.2


class ProgressLine:
    """Callable as `progress(done, total)`: rewrites one line on a terminal, adds a line now and then to a log."""

    def __init__(self, label: str, unit: str) -> None:
        self.label, self.unit = label, unit
        self.is_terminal = sys.stderr.isatty()
        self.interval_sec = TERMINAL_INTERVAL_SEC if self.is_terminal else LOG_INTERVAL_SEC
        self.started = time.monotonic()
        self.shown = -self.interval_sec

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` are finished; cheap enough for every step."""
        now = time.monotonic()
        if done < total and now - self.shown < self.interval_sec:
            return
        self.shown = now
        line = self.line(done, total, now - self.started, note)
        if self.is_terminal:
            print(f"\r{line}\033[K", end="\n" if done >= total else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def line(self, done: int, total: int, elapsed_sec: float, note: str = "") -> str:
        rate = done / elapsed_sec if elapsed_sec > 0 and done else 0.0
        left = f"ETA {format_duration((total - done) / rate)}" if rate else "ETA unknown"
        end = left if done < total else f"took {format_duration(elapsed_sec)}"
        return f"{self.label} {done}/{total}  {rate:.1f} {self.unit}/s  {end}" + (f"  {note}" if note else "")


def format_duration(seconds: float) -> str:
    """1:05 for a minute and five seconds, 2:00:00 for two hours."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
