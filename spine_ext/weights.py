"""Starting weights of the classifier: DenseNet121 trained on ImageNet, or random where those are missing."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from stylegan2ada.download import FetchError, Limits, cached_file, hash_of_file
from stylegan2ada.errors import UserError

IMAGENET_URL = "https://download.pytorch.org/models/densenet121-a639ec97.pth"
IMAGENET_SHA256_PREFIX = "a639ec97"  # PyTorch's checkpoints carry the start of their SHA-256 in their name

_LARGEST_FILE_BYTES = 200_000_000  # the ImageNet file has 32 MB
LIMITS = Limits("such file", _LARGEST_FILE_BYTES, total_sec=180, silence_sec=8)

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
    return "imagenet" if hash_of_file(path).startswith(IMAGENET_SHA256_PREFIX) else "file"


def cache_dir() -> Path:
    """$SPINEGAN_CACHE, or the folder where PyTorch itself keeps downloaded checkpoints."""
    own = os.environ.get("SPINEGAN_CACHE")
    return Path(own) if own else Path(torch.hub.get_dir()) / "checkpoints"


def fetch_imagenet_weights(notify: Callable[[str], None]) -> Path:
    """Path of the checkpoint in the cache, fetched if need be; its hash is checked either way.

    Raises `WeightsUnavailable`, which says what to fetch and where to put it.
    """
    path = cache_dir() / IMAGENET_URL.rpartition("/")[2]
    otherwise = "name it with classify.py --weights"
    try:
        return cached_file(
            IMAGENET_URL, path, LIMITS, sha256=IMAGENET_SHA256_PREFIX, otherwise=otherwise, notify=notify
        )
    except FetchError as error:
        raise WeightsUnavailable(str(error)) from error


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
