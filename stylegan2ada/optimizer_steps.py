"""Steps of Adam. A loss or gradient that is not finite never reaches the weights: neither way masks a NaN.

`optimizer_step` looks before it steps and raises. On CUDA looking would make the host wait for the device in every
phase, so `SkippingSteps` has the device leave a bad step out and count it; the counters are read now and then.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from .config import OptimizerConfig
from .errors import NonFiniteError


class OptimizerStep(Protocol):
    """A step of `optimizer`, whose parameters are those of `network`, along the gradients of `loss` that they have.

    Returns the norm () of all gradients together.
    """

    def __call__(
        self, optimizer: torch.optim.Optimizer, loss: torch.Tensor, network: nn.Module, phase: str
    ) -> torch.Tensor: ...


def make_optimizer(network: nn.Module, config: OptimizerConfig, lazy_interval: int) -> torch.optim.Adam:
    """Adam, corrected for the extra step of a lazy regulariser every `lazy_interval` steps (StyleGAN2, app. B)."""
    ratio = lazy_interval / (lazy_interval + 1) if lazy_interval else 1.0
    parameters = [p for p in network.parameters() if p.requires_grad]
    betas = (config.beta1**ratio, config.beta2**ratio)
    return torch.optim.Adam(
        parameters, lr=config.learning_rate * ratio, betas=betas, eps=config.eps, fused=True,
        capturable=any(p.is_cuda for p in parameters),  # as part of a CUDA graph
    )  # fmt: skip


def optimizer_step(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, network: nn.Module, phase: str
) -> torch.Tensor:
    """Raises NonFiniteError, which names the parameters, before the weights are touched."""
    named = [(name, p.grad) for name, p in network.named_parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([grad for _, grad in named])
    if not _all_finite(loss, norm):
        bad = [name for name, grad in named if not torch.isfinite(grad).all()]
        alone = "the norm of the gradient" if torch.isfinite(loss) else "the loss"
        where = f"the gradient of {', '.join(bad[:3])}" if bad else alone
        raise NonFiniteError(f"{phase}: {where} is not finite")
    optimizer.step()
    return norm


class SkippingSteps:
    """`optimizer_step` without the host waiting for the device: a bad step is left out there (fused Adam's `found_inf`,
    as for gradient scaling) and counted. Weights and Adam's state stay as they were before it.
    """

    def __init__(self, tolerated_skips: int = 0):
        """tolerated_skips: so many steps of one phase in a row may be left out; more raise. 0 for float32 and bfloat16,
        where a NaN is a mistake; some for float16, whose gradients overflow now and then."""
        self._tolerated = tolerated_skips
        self._skips: dict[str, _Skips] = {}
        self._seen: dict[str, float] = {}
        self._earlier: dict[str, torch.Tensor] = {}  # counts of phases that have not run since the run was continued

    def __call__(
        self, optimizer: torch.optim.Optimizer, loss: torch.Tensor, network: nn.Module, phase: str
    ) -> torch.Tensor:
        norm = torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        if phase not in self._skips:
            counts = self._earlier.pop(phase, torch.zeros(3)).to(loss.device)
            self._skips[phase] = _Skips(torch.zeros([], device=loss.device), counts)
        skips = self._skips[phase]
        skips.count(~_all_finite(loss, norm))
        optimizer.found_inf = skips.latest
        optimizer.step()
        return norm

    def check(self) -> dict[str, float]:
        """Steps left out since the last check, by phase. This waits for the device.

        Raises:
            NonFiniteError: more in a row than are tolerated, at any time since the start; names the phase.
        """
        if not self._skips:
            return {}
        rows = torch.stack([skips.counts for skips in self._skips.values()]).tolist()
        new = {}
        for phase, (total, _, longest) in zip(self._skips, rows, strict=True):
            if longest > self._tolerated:
                steps = f"in {longest:.0f} steps in a row" if self._tolerated else f"in {total:.0f} steps"
                raise NonFiniteError(
                    f"{phase}: the loss or a gradient was not finite {steps}; they were left out, so no weight has it"
                )
            new[phase] = total - self._seen.get(phase, 0)
            self._seen[phase] = total
        return new

    def state_dict(self) -> dict:
        counts = self._earlier | {phase: skips.counts for phase, skips in self._skips.items()}
        return {"counts": counts, "seen": dict(self._seen)}

    def load_state_dict(self, state: dict) -> None:
        self._earlier, self._seen = dict(state["counts"]), dict(state["seen"])


@dataclass(frozen=True)
class _Skips:
    """Of one phase, on its device. `latest` () is 1 where the latest step was bad, else 0; `counts` (3,): bad steps so
    far, the present row of them, the longest row."""

    latest: torch.Tensor
    counts: torch.Tensor

    def count(self, bad: torch.Tensor) -> None:
        self.latest.copy_(bad)
        total, row, longest = self.counts.unbind()
        total.add_(self.latest)
        row.add_(self.latest).mul_(self.latest)
        longest.copy_(torch.maximum(longest, row))


def _all_finite(loss: torch.Tensor, gradient_norm: torch.Tensor) -> torch.Tensor:
    """Whether the loss and all gradients are (and their norm, which can overflow alone). () bool."""
    return torch.isfinite(gradient_norm + loss.detach())
