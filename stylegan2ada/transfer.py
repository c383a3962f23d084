"""Starting from the weights of another run (transfer learning): whatever fits by name and shape is taken over.

The layers next to the image are adapted when one network is grey and the other RGB. With C channels, w and b a layer's
weight and bias:

    toRGB, grey from RGB     w[0] = mean over c of w[c], likewise b: grey is the mean of the RGB channels
    toRGB, RGB from grey     w[c] = w[0], likewise b: all channels are the grey image
    fromRGB, grey from RGB   w[:, 0] = sum over c of w[:, c] / sqrt(3): D sees grey as three equal channels
    fromRGB, RGB from grey   w[:, c] = w[:, 0] / sqrt(3): D sees the mean of the channels

The root is that of the equalised learning rate (Progressive GAN, section 4.1): layers multiply their weight by
1 / sqrt(fan-in), which is 1 for grey and 1 / sqrt(3) for RGB. (Where activations reach the clamp of +-256, the mean of
clamped channels is not the clamped mean.)
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

GREY, RGB = 1, 3
NOT_IN_SOURCE = "not in the source"


@dataclass(frozen=True)
class TransferReport:
    """Names of tensors taken over; of those adapted and those left as they were, with how or why; and of tensors of the
    source for which there is no place."""

    taken: tuple[str, ...]
    adapted: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]

    def summary(self) -> str:
        """One line, and one more for each reason."""
        counts = f"{len(self.taken)} tensors taken over, {len(self.left)} left at their initial values"
        if not self.taken and not self.adapted and not self.unused:
            return f"{counts}: the source does not have this network"
        lines = [counts]
        for how, names in _by_reason(self.adapted).items():
            lines.append(f"adapted, {how}: {_groups(names)}")
        others = []
        for reason, names in _by_reason(self.left).items():
            if reason == NOT_IN_SOURCE:
                lines.append(f"left, {reason}: {_groups(names)}")
            else:
                others += [(name, reason) for name in names]
        if others:
            name, reason = others[0]
            lines.append(f"left, of another shape: {_groups(name for name, _ in others)}; such as {name}, {reason}")
        if self.unused:
            lines.append(f"in the source alone: {_groups(self.unused)}")
        return "\n    ".join(lines)


@torch.no_grad()
def copy_matching(module: nn.Module, tensors: dict[str, torch.Tensor]) -> TransferReport:
    """Copies into `module` every parameter and buffer that `tensors` holds under the same name and shape, and the
    layers next to the image where they differ between grey and RGB, as above."""
    own = module.state_dict()
    taken, adapted, left = [], [], []
    for name, target in own.items():
        source = tensors.get(name)
        if source is None:
            left.append((name, NOT_IN_SOURCE))
        elif source.shape == target.shape:
            target.copy_(source)
            taken.append(name)
        elif (adaptation := _adaptation(name, source.shape, target.shape)) is not None:
            how, adapt = adaptation
            target.copy_(adapt(source))
            adapted.append((name, how))
        else:
            left.append((name, f"{tuple(source.shape)} there, {tuple(target.shape)} here"))
    unused = tuple(name for name in tensors if name not in own)
    return TransferReport(tuple(taken), tuple(adapted), tuple(left), unused)


Adapt = Callable[[torch.Tensor], torch.Tensor]


def _adaptation(name: str, there: torch.Size, here: torch.Size) -> tuple[str, Adapt] | None:
    """How a tensor that differs in the image's channels alone is converted, None where there is no way."""
    layer = name.split(".")[-2:]
    ways: dict[tuple[int, int], tuple[str, Adapt]]
    if layer in (["torgb", "weight"], ["torgb", "bias"]):
        dim = 0
        ways = {
            (RGB, GREY): ("grey is the mean of RGB", lambda source: source.mean(dim=0, keepdim=True)),
            (GREY, RGB): ("RGB is grey thrice", lambda source: source.expand(RGB, *source.shape[1:])),
        }
    elif layer == ["fromrgb", "weight"]:
        dim = 1
        ways = {
            (RGB, GREY): ("grey is seen as RGB", lambda source: source.sum(dim=1, keepdim=True) / math.sqrt(RGB)),
            (GREY, RGB): ("RGB is seen as its mean", lambda source: source.expand(-1, RGB, -1, -1) / math.sqrt(RGB)),
        }
    else:
        return None
    same_otherwise = len(there) == len(here) and there[:dim] + there[dim + 1 :] == here[:dim] + here[dim + 1 :]
    return ways.get((there[dim], here[dim])) if same_otherwise else None


def _by_reason(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name, reason in pairs:
        found[reason].append(name)
    return found


def _groups(names: Iterable[str]) -> str:
    """Names by the block or layer they belong to, with their number: synthesis.b512 (17), mapping.fc0 (2)."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        parts = name.split(".")
        counts[".".join(parts[: 2 if parts[0] in ("synthesis", "mapping") else 1])] += 1
    return ", ".join(f"{group} ({count})" for group, count in counts.items())
