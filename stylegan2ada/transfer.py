"""Starting from the weights of another run (transfer learning): whatever fits by name and shape is taken over."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class TransferReport:
    """Names of tensors taken over, and of those left as they were, with the reason."""

    taken: tuple[str, ...]
    left: tuple[tuple[str, str], ...]

    def summary(self) -> str:
        text = f"{len(self.taken)} tensors taken over, {len(self.left)} left at their initial values"
        examples = ", ".join(f"{name} ({reason})" for name, reason in self.left[:3])
        return f"{text}: {examples}{', ...' if len(self.left) > 3 else ''}" if self.left else text


@torch.no_grad()
def copy_matching(module: nn.Module, tensors: dict[str, torch.Tensor]) -> TransferReport:
    """Copies into `module` every parameter and buffer that `tensors` holds under the same name and shape."""
    taken, left = [], []
    for name, target in module.state_dict().items():
        if name not in tensors:
            left.append((name, "not in the source"))
        elif tensors[name].shape != target.shape:
            left.append((name, f"{tuple(tensors[name].shape)} there, {tuple(target.shape)} here"))
        else:
            target.copy_(tensors[name])
            taken.append(name)
    return TransferReport(tuple(taken), tuple(left))
