"""Choosing the device by name."""

import torch

from .errors import UserError


def choose_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one, else the CPU. Raises UserError for a CUDA device that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is available here; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
