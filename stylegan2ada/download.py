"""Files from the network: fetched once, whole, checked and kept; one clear line where that fails."""

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .files import atomic_path, write_text
from .progress import ProgressLine

_CHUNK_BYTES = 1 << 20

Notify = Callable[[str], None]


class FetchError(UserError):
    """A file is neither here nor could it be fetched; says what to put where instead."""


@dataclass(frozen=True)
class Limits:
    """What a server may do. what: the kind of file, "network" say; silence_sec: without a single byte."""

    what: str
    max_bytes: int
    total_sec: float = 3600.0
    silence_sec: float = 15.0


def say(line: str) -> None:
    """To standard error: what a script prints stays apart."""
    print(line, file=sys.stderr, flush=True)


def cached_file(
    url: str,
    path: Path,
    limits: Limits,
    *,
    sha256: str | None = None,
    name: str | None = None,
    otherwise: str = "give its path",
    notify: Notify = say,
) -> Path:
    """`path`, where the file of `url` is kept; fetched if it is not there.

    With a known hash, a file that has another one is fetched again. Without one, the SHA-256 of what came is told and
    recorded beside the file, and a file that has another one later is refused; one that somebody put there is taken.

    Args:
        sha256: in hexadecimal, all of it or its beginning.
        name: of the file for messages, where it has one beside its URL.
        otherwise: what else the user can do without a network, for the message.
    Raises:
        FetchError: it cannot be fetched, or what came has another hash than `sha256`; nothing is kept.
        UserError: the cached file has changed.
    """
    record = path.with_name(path.name + ".sha256")
    if path.is_file() and sha256 is None:
        if record.is_file() and hash_of_file(path) != record.read_text(encoding="utf-8").strip():
            raise UserError(f"{path} has changed since it was fetched: delete it, and it will be fetched again")
        return path
    if path.is_file() and hash_of_file(path).startswith(sha256):
        return path
    notify(f"Fetching {url}")
    try:
        digest = _download(url, path, limits, sha256 or "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer too
        reason = error.reason if type(error) is urllib.error.URLError else error
        title = url if name is None else f"{name}, {url}"
        place = f"{path}, for the one there has another SHA-256" if path.is_file() else str(path)
        raise FetchError(f"cannot fetch {title} ({reason}): put that file at {place}, or {otherwise}") from error
    if sha256 is None:
        write_text(record, digest + "\n")
        notify(f"Kept as {path}, SHA-256 {digest}")
    return path


def check_url(url: str) -> None:
    """Raises UserError unless it begins with http:// or https:// and a host."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{url} is no URL that can be fetched: it must begin with https:// or http:// and a host")


def hash_of_file(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections to https, and from http to http; never to files, FTP, or from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type != "http"):
            fp.close()
            raise OSError(f"the server redirects to {newurl[:200]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, destination: Path, limits: Limits, sha256: str) -> str:
    """Fetches to `destination`, which appears when it is whole and has the hash; returns its SHA-256."""
    digest, size, started = hashlib.sha256(), 0, time.monotonic()
    opener = urllib.request.build_opener(_SafeRedirects)
    with opener.open(url, timeout=limits.silence_sec) as response:
        length = response.headers.get("Content-Length")
        expected = int(length) if length is not None else None
        _check_size(expected or 0, limits)
        progress = ProgressLine(f"fetching {destination.name}", "MB")
        with atomic_path(destination) as temporary, open(temporary, "wb") as file:
            while chunk := response.read1(_CHUNK_BYTES):  # what is there: `read` would wait for all
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                _check_size(size, limits)
                if time.monotonic() - started > limits.total_sec:
                    raise TimeoutError(f"only {size / 1e6:.0f} MB came within {limits.total_sec:g} s")
                if expected:
                    progress(size // 1_000_000, max(expected // 1_000_000, 1))
            if expected is not None and size != expected:
                raise OSError(f"the connection ended after {size} of {expected} bytes")
            _check_hash(digest.hexdigest(), sha256)
    return digest.hexdigest()


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        raise OSError(f"it has {size / 1e9:.1f} GB, more than any {limits.what}")


def _check_hash(found: str, expected: str) -> None:
    if not found.startswith(expected):
        whole = len(expected) == len(found)
        verb, found = ("is", found) if whole else ("begins", found[: len(expected)])
        raise OSError(f"what came is another file: its SHA-256 {verb} {found}, not {expected}")
