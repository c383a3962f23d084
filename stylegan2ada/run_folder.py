"""The folder of one training run: its name, its log and its options."""

import contextlib
import errno
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .config import TrainingConfig
from .errors import UserError
from .files import write_json, write_text


@contextlib.contextmanager
def run_folder(outdir: str | Path, description: str) -> Iterator[Path]:
    """A new run folder; a user's mistake that ends the run before its first tick leaves none behind."""
    folder = create_run_folder(outdir, description)
    try:
        yield folder
    except UserError:
        statistics = folder / "stats.jsonl"
        if not statistics.exists() or statistics.stat().st_size == 0:
            shutil.rmtree(folder)
        raise


def create_run_folder(outdir: str | Path, description: str) -> Path:
    """Makes outdir/00000-description, numbered after the runs that are there already."""
    outdir = Path(outdir)
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r"(\d{5,})-", path.name))]
            folder = outdir / f"{max(taken, default=-1) + 1:05d}-{description}"
            with contextlib.suppress(FileExistsError):  # another run has just taken the number
                folder.mkdir()
                return folder
    except OSError as error:
        raise UserError(f"--outdir {outdir} cannot be written: {error}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process trains in the folder; the lock ends with the process, however that ends. File systems
    without locks, as some of clusters are, have none.

    Raises:
        UserError: another one does.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    with open(folder / ".lock", "a") as file:  # "w" would empty what a link in somebody's folder leads to
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: another process is training in this folder; stop it first") from error
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                raise
        yield


def snapshot_path(folder: Path, kimg: float) -> Path:
    """The network file of a snapshot."""
    return folder / f"network-snapshot-{round(kimg):06d}.safetensors"


def prune_snapshots(folder: Path, keep: int) -> None:
    """Removes all network snapshots but the newest `keep`; their grids of images stay."""
    for path in sorted(folder.glob("network-snapshot-??????.safetensors"))[:-keep]:
        path.unlink(missing_ok=True)


def rewind(folder: Path, ticks: int, kimg: float) -> None:
    """Cuts statistics and metrics back to where a run stood after `ticks` ticks: what comes next is written again.

    The metrics of a snapshot taken at that very point are measured again, too, since they may be missing. What a killed
    process had begun to write is removed.
    """
    for unfinished in folder.glob(".*.tmp"):
        unfinished.unlink(missing_ok=True)
    _keep_lines(folder / "stats.jsonl", lambda line: line.get("Progress/tick", 0) <= ticks)
    for path in folder.glob("metric-*.jsonl"):
        _keep_lines(path, lambda line: line.get("kimg", -1) < kimg)


def _keep_lines(path: Path, is_kept: Callable[[dict], bool]) -> None:
    """Drops the other lines, and any that a full disk or a killed process left cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, AttributeError, TypeError):  # cut off, or not a line of a run
            if is_kept(json.loads(line)):
                kept.append(line + "\n")
    write_text(path, "".join(kept))


def write_options(folder: Path, config: TrainingConfig) -> None:
    """training_options.json: everything that decides the run."""
    write_json(folder / "training_options.json", config.to_dict())


class RunLog:
    """Prints lines and keeps them in log.txt."""

    def __init__(self, folder: Path):
        self._path = folder / "log.txt"

    def __call__(self, line: str) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # the progress line makes room
        print(line, flush=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
