"""Where the detectors of metrics come from: official files out of the cache or the network, and classifiers."""

from pathlib import Path
from typing import Protocol

import torch

from stylegan2ada.download import Limits, cached_file
from stylegan2ada.errors import UserError
from stylegan2ada.files import default_cache_dir

from ..classifier import load_classifier
from .classifier_detector import ClassifierDetector

LIMITS = Limits("detector", max_bytes=1 << 30)
OFFLINE = "name a copy with --detector {name}=FILE; --detector classifier:FILE works without it"


class OfficialFile(Protocol):
    name: str
    url: str
    sha256: str


def fetch_detector(file: OfficialFile) -> Path:
    """The file in the cache, fetched if it is not there; its hash is the known one. UserError says what else to do."""
    path = default_cache_dir() / "detectors" / file.url.rpartition("/")[2]
    return cached_file(file.url, path, LIMITS, sha256=file.sha256, otherwise=OFFLINE.format(name=file.name))


def open_classifier(path: str | None, device: torch.device) -> ClassifierDetector:
    """The classifier of a file that classify.py or train.py wrote."""
    if path is None:
        raise UserError("--detector classifier: name its file, --detector classifier:classifier.safetensors")
    return ClassifierDetector(load_classifier(path, device))
