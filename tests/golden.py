"""Reading the golden numbers and comparing with them."""

import json
from pathlib import Path

import numpy as np
import torch


class Golden:
    """One golden file pair: `cases` (the JSON) and arrays by `id/name` (the npz) as tensors on `device`."""

    def __init__(self, directory: Path, name: str, device: str = "cpu"):
        self.cases = json.loads((directory / f"{name}.json").read_text())
        self._arrays, self._device = np.load(directory / f"{name}.npz"), device

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self._arrays[key]).to(self._device)

    def __contains__(self, key: str) -> bool:
        return key in self._arrays.files

    def keys(self) -> list[str]:
        return list(self._arrays.files)


def relative_error(ours: torch.Tensor, golden: torch.Tensor) -> float:
    """|ours - golden| / |golden| in the L2 norm over the whole array."""
    ours, golden = ours.detach().cpu().double(), golden.cpu().double()
    if ours.shape != golden.shape:
        raise AssertionError(f"shapes differ: ours {tuple(ours.shape)}, golden {tuple(golden.shape)}")
    return ((ours - golden).norm() / golden.norm().clamp(min=1e-12)).item()


def assert_golden(ours: torch.Tensor, golden: torch.Tensor, tolerance: float = 1e-4, what: str = "result") -> None:
    error = relative_error(ours, golden)
    if not error < tolerance:
        raise AssertionError(f"{what}: relative error {error:.3g} is not below {tolerance:g}")
