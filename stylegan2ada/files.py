"""Writing files so that a reader sees the old one or the new one, never half of one; and where caches go."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError


def default_cache_dir() -> Path:
    """$SPINEGAN_CACHE, else ~/.cache/spinegan: what can be made again."""
    return Path(os.environ.get("SPINEGAN_CACHE") or Path.home() / ".cache" / "spinegan")


def check_writable(folder: str | os.PathLike, option: str) -> None:
    """Raises UserError unless `folder`, of a command line's `option`, can be written or made; makes nothing.

    For the start of long work: at its end, hours would be lost.
    """
    folder = Path(folder)
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{option} {folder} cannot be written: {nearest} is a file or write-protected; choose another")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` on success, removes it on any error.

    The data reaches the disk before the rename, so a power cut cannot leave an empty file behind the final name.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask gives; some writers make their files private
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        with open(temporary, "r+b") as written:  # Windows syncs only what is open for writing
            os.fsync(written.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike, value: object) -> None:
    """Writes `value` as indented JSON to `path` atomically; NaN and Inf are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
