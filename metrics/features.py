"""Detectors: what turns images into features, the first step of every metric."""

from collections.abc import Callable

import torch

Detector = Callable[[torch.Tensor], torch.Tensor]
"""uint8 (N,3,H,W), on any device, to features (N,D).

It may have a `name`, for people, and a `sha256` of its file or of whatever it is; see `name_of` and `key_of`.
"""


class NamedDetector:
    """Another result of a detector, under a name of its own."""

    def __init__(self, name: str, sha256: str | None, function: Detector):
        self.name, self.sha256, self._function = name, sha256, function

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self._function(images)


def name_of(detector: Detector) -> str:
    return getattr(detector, "name", None) or getattr(detector, "__name__", None) or type(detector).__name__


def key_of(detector: Detector) -> str | None:
    """What stands for the detector in caches and records; None where nothing does."""
    return getattr(detector, "sha256", None)


def three_channels(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (N,C,H,W), C 1 or 3, to (N,3,H,W)."""
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ValueError(f"batches must be uint8 (N,1,H,W) or (N,3,H,W), not {pixels.dtype} {tuple(pixels.shape)}")
    return pixels.expand(-1, 3, -1, -1)
