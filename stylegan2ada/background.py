"""Work in a thread of its own, one piece at a time: training waits neither for the disk nor for its errors."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """Writes files while training goes on. An error is raised by the next call of any method, once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._writing: Future | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begins to write; waits for the files before. What is written must be nobody else's."""
        self.wait()
        self._writing = self._thread.submit(write)

    def check(self) -> None:
        """Raises the error of a file that could not be written; does not wait."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Until the last file is on disk, whole, under its name."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Waits, and ends the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
