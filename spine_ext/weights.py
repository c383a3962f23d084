"""Starting weights of the classifier: DenseNet121 trained on ImageNet, or random where those are missing."""

import hashlib
import http.client
import os
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_path

IMAGENET_URL = "https://download.pytorch.org/models/densenet121-a639ec97.pth"
IMAGENET_SHA256_PREFIX = "a639ec97"  # PyTorch's checkpoints carry the start of their SHA-256 in their name

CONNECT_TIMEOUT_SEC = 8
DOWNLOAD_LIMIT_SEC = 180
_LARGEST_FILE_BYTES = 200_000_000  # the ImageNet file has 32 MB
_CHUNK_BYTES = 1 << 18

# Checkpoints from before torch 0.4 name the parts of a dense layer "norm.1", today's modules "norm1".
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


class WeightsUnavailable(UserError):
    """The ImageNet weights are not here and could not be fetched."""


def load_starting_weights(backbone: nn.Module, choice: str, notify: Callable[[str], None]) -> str:
    """Fills torchvision's DenseNet121 `features` with the weights of `choice`; returns their origin.

    choice: "imagenet" (cached or fetched), "random" (left as they are), a path of a DenseNet121 checkpoint,
        or "auto": "imagenet" where possible, else "random", and `notify` is told so in one line.
    Origin: "imagenet", "random" or "file".
    """
    if choice == "random":
        return "random"
    if choice in ("auto", "imagenet"):
        try:
            path = fetch_imagenet_weights(notify=notify)
        except WeightsUnavailable as error:
            if choice == "imagenet":
                raise
            notify(f"The classifier starts from random weights, not ImageNet's: {error}")
            return "random"
    else:
        path = Path(choice)
    _fill(backbone, path)
    return "imagenet" if _sha256(path).startswith(IMAGENET_SHA256_PREFIX) else "file"


def cache_dir() -> Path:
    """$SPINEGAN_CACHE, or the folder where PyTorch itself keeps downloaded checkpoints."""
    own = os.environ.get("SPINEGAN_CACHE")
    return Path(own) if own else Path(torch.hub.get_dir()) / "checkpoints"


def fetch_imagenet_weights(notify: Callable[[str], None]) -> Path:
    """Path of the checkpoint in the cache, fetched if need be; its hash is checked either way.

    Raises `WeightsUnavailable`, which says what to fetch and where to put it.
    """
    path = cache_dir() / IMAGENET_URL.rpartition("/")[2]
    if path.is_file() and _sha256(path).startswith(IMAGENET_SHA256_PREFIX):
        return path
    notify(f"Fetching {IMAGENET_URL}")
    try:
        _download(path)
    except (OSError, http.client.HTTPException) as error:
        raise WeightsUnavailable(
            f"cannot fetch {IMAGENET_URL} ({error}); put that file at {path} yourself, "
            "or name it with classify.py --weights"
        ) from error
    return path


def _download(destination: Path) -> None:
    """Fetches the checkpoint; `destination` appears only when its hash is right."""
    started, digest, size = time.monotonic(), hashlib.sha256(), 0
    with (
        urllib.request.urlopen(IMAGENET_URL, timeout=CONNECT_TIMEOUT_SEC) as response,
        atomic_path(destination) as temporary,
    ):
        with open(temporary, "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if time.monotonic() - started > DOWNLOAD_LIMIT_SEC:
                    raise TimeoutError(f"only {size / 1e6:.0f} MB came within {DOWNLOAD_LIMIT_SEC} s")
                if size > _LARGEST_FILE_BYTES:
                    raise OSError(f"the answer is larger than {_LARGEST_FILE_BYTES / 1e6:.0f} MB")
        found = digest.hexdigest()[: len(IMAGENET_SHA256_PREFIX)]
        if found != IMAGENET_SHA256_PREFIX:
            raise OSError(f"what came is another file: its SHA-256 begins {found}, not {IMAGENET_SHA256_PREFIX}")


def _fill(backbone: nn.Module, path: Path) -> None:
    """Loads the `features.` part of a DenseNet121 checkpoint into `backbone`."""
    prefix = "features."
    loaded = {
        _OLD_NAME.sub(r"\1\2.", name).removeprefix(prefix): tensor
        for name, tensor in _read_checkpoint(path).items()
        if isinstance(name, str) and name.startswith(prefix)
    }
    try:
        backbone.load_state_dict(loaded)
    except RuntimeError as error:  # names or shapes
        reason = str(error).strip().splitlines()[1].strip()[:200]
        raise UserError(f"{path} does not hold the weights of a DenseNet121: {reason}") from error
    for name, tensor in backbone.state_dict().items():
        if not tensor.isfinite().all():
            raise UserError(f"{path} has NaN or Inf values in {prefix}{name}")


def _read_checkpoint(path: Path) -> dict:
    remedy = "give --weights auto, imagenet, random or the path of a DenseNet121 checkpoint"
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}: {remedy}")
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise UserError(f"{path} is too large for the weights of a DenseNet121: {remedy}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises nearly any type on a damaged or hostile file
        raise UserError(f"{path} is not a checkpoint of tensors ({type(error).__name__}): {remedy}") from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} holds a {type(checkpoint).__name__}, not a table of weights: {remedy}")
    return checkpoint


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
