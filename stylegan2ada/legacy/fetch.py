"""Networks by URL or by the official names of --resume: fetched once, kept in the cache."""

import hashlib
import urllib.parse
from pathlib import Path

from stylegan2ada.download import Limits, Notify, cached_file, check_url, say
from stylegan2ada.files import default_cache_dir

_BASE_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/"
PRESET_URLS = {
    "ffhq256": f"{_BASE_URL}ffhq-res256-mirror-paper256-noaug.pkl",
    "ffhq512": f"{_BASE_URL}ffhq-res512-mirror-stylegan2-noaug.pkl",
    "ffhq1024": f"{_BASE_URL}ffhq-res1024-mirror-stylegan2-noaug.pkl",
    "celebahq256": f"{_BASE_URL}celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl",
    "lsundog256": f"{_BASE_URL}lsundog-res256-paper256-kimg100000-noaug.pkl",
}
SUFFIXES = (".pkl", ".safetensors")
LIMITS = Limits("network", max_bytes=4 << 30)


def is_remote(path_or_url: object) -> bool:
    """Whether `fetch` is for it: an official preset's name or a URL."""
    return str(path_or_url) in PRESET_URLS or "://" in str(path_or_url)


def fetch(preset_or_url: str, notify: Notify = say) -> Path:
    """The file in the cache, fetched if it is not there. No hashes of official files are known here; see `cached_file`.

    Raises:
        UserError: it cannot be fetched, and what to put where instead; or the cached file has changed.
    """
    url = PRESET_URLS.get(preset_or_url, preset_or_url)
    check_url(url)
    name = None if url == preset_or_url else preset_or_url
    return cached_file(url, cached_path(preset_or_url), LIMITS, name=name, notify=notify)


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
