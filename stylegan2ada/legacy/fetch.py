"""Networks by URL or by the official names of --resume: fetched once, kept in the cache."""

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_path, default_cache_dir, write_text
from stylegan2ada.progress import ProgressLine

_BASE_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/"
PRESET_URLS = {
    "ffhq256": f"{_BASE_URL}ffhq-res256-mirror-paper256-noaug.pkl",
    "ffhq512": f"{_BASE_URL}ffhq-res512-mirror-stylegan2-noaug.pkl",
    "ffhq1024": f"{_BASE_URL}ffhq-res1024-mirror-stylegan2-noaug.pkl",
    "celebahq256": f"{_BASE_URL}celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl",
    "lsundog256": f"{_BASE_URL}lsundog-res256-paper256-kimg100000-noaug.pkl",
}
SUFFIXES = (".pkl", ".safetensors")
TIMEOUT_SEC = 15.0  # without a single byte
LIMIT_SEC = 3600.0
MAX_BYTES = 4 << 30
_CHUNK_BYTES = 1 << 20

Notify = Callable[[str], None]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def is_remote(path_or_url: object) -> bool:
    """Whether `fetch` is for it: an official preset's name or a URL."""
    return str(path_or_url) in PRESET_URLS or "://" in str(path_or_url)


def fetch(preset_or_url: str, notify: Notify = _say) -> Path:
    """The file in the cache, fetched if it is not there.

    No hashes of official files are known here. So the SHA-256 of what came is told and recorded beside the file, and a
    file that does not have the recorded one any more is refused.

    Raises:
        UserError: it cannot be fetched, and what to put where instead; or the cached file has changed.
    """
    url = PRESET_URLS.get(preset_or_url, preset_or_url)
    _check_url(url)
    path = cached_path(preset_or_url)
    record = path.with_name(path.name + ".sha256")
    if path.is_file():
        _check(path, record)
        return path
    notify(f"Fetching {url}")
    try:
        digest = _download(url, path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer too
        reason = error.reason if type(error) is urllib.error.URLError else error
        name = url if url == preset_or_url else f"{preset_or_url}, {url}"
        raise UserError(f"cannot fetch {name} ({reason}): put that file at {path}, or give its path") from error
    write_text(record, digest + "\n")
    notify(f"Kept as {path}, SHA-256 {digest}")
    return path


def cached_path(preset_or_url: str) -> Path:
    """Where the file is or will be: under its own name for presets, with a part of the URL's hash for other URLs."""
    url = PRESET_URLS.get(preset_or_url, preset_or_url)
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    name = "".join(character if character.isalnum() or character in "._-" else "_" for character in name)[-80:]
    name = name if name.endswith(SUFFIXES) else f"{name}.pkl"
    if preset_or_url not in PRESET_URLS:
        digest = hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()
        name = f"{digest[:12]}-{name}"
    return default_cache_dir() / "networks" / name


def _check_url(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{url} is no URL that can be fetched: it must begin with https:// or http:// and a host")


def _check(path: Path, record: Path) -> None:
    if record.is_file():  # otherwise somebody put the file there
        with open(path, "rb") as file:
            found = _sha256(file)
        if found != record.read_text(encoding="utf-8").strip():
            raise UserError(f"{path} has changed since it was fetched: delete it, and it will be fetched again")


def _sha256(file) -> str:
    digest = hashlib.sha256()
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


def _download(url: str, destination: Path) -> str:
    """Fetches to `destination`, which appears when it is whole; returns its SHA-256."""
    digest, size, started = hashlib.sha256(), 0, time.monotonic()
    opener = urllib.request.build_opener(_SafeRedirects)
    with opener.open(url, timeout=TIMEOUT_SEC) as response:
        length = response.headers.get("Content-Length")
        expected = int(length) if length is not None else None
        if expected is not None and expected > MAX_BYTES:
            raise OSError(f"it has {expected / 1e9:.1f} GB, more than any network")
        progress = ProgressLine(f"fetching {destination.name}", "MB")
        with atomic_path(destination) as temporary, open(temporary, "wb") as file:
            while chunk := response.read1(_CHUNK_BYTES):  # what is there: `read` would wait for all
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if size > MAX_BYTES:
                    raise OSError(f"it has more than {MAX_BYTES / 1e9:.1f} GB, more than any network")
                if time.monotonic() - started > LIMIT_SEC:
                    raise TimeoutError(f"only {size / 1e6:.0f} MB came within {LIMIT_SEC / 60:.0f} minutes")
                if expected:
                    progress(size // 1_000_000, max(expected // 1_000_000, 1))
            if expected is not None and size != expected:
                raise OSError(f"the connection ended after {size} of {expected} bytes")
    return digest.hexdigest()
