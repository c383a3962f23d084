"""One optimiser step for the generator and one for the discriminator, with their lazy regularisers.

Both return what they saw as `{name: values}` for the statistics, and do not step on a NaN or Inf. Their phases (a loss
or regulariser with its optimiser step) read nothing back from the device, so that CUDA can run ahead and record them.
A batch may be divided among processes and micro-batches (`division`): losses here are those of one part.
Legend: N images, K label size.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn

from . import losses
from .config import LossConfig, OptimizerConfig
from .discriminator import Discriminator
from .division import WHOLE, Division, Report
from .execution import EAGER, Execution, Phase
from .generator import Generator
from .optimizer_state import optimizer_state, restore_optimizer
from .optimizer_steps import make_optimizer

AugmentFn = Callable[[torch.Tensor], torch.Tensor]
DrawImages = Callable[[int], tuple[torch.Tensor, torch.Tensor]]
TermFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

GENERATOR_LOSS = Phase("generator loss", "Gradients/Gmain")
PATH_LENGTHS = Phase("path length regularisation", "Gradients/Gpl")
DISCRIMINATOR_LOSS = Phase("discriminator loss", "Gradients/Dmain")
R1 = Phase("R1 regularisation", "Gradients/Dr1")


class GeneratorTerm(NamedTuple):
    """An extra term of the generator's loss: weight * mean of function(images (N,C,H,W) in [-1,1], labels (N,K)).

    The images are G's own, before augmentation. A function with an attribute `cuda_graph_safe = True` says that it does
    the same work on the device at every call and reads nothing back; then G's step on CUDA can be recorded once.
    """

    name: str
    weight: float
    function: TermFn


class FakeSampler:
    """Draws latents from a unit normal and labels from those of the training set, as the paper does."""

    def __init__(
        self,
        G: Generator,
        labels: torch.Tensor,
        style_mixing_prob: float,
        device: torch.device,
        division: Division = WHOLE,
    ):
        """labels: (images, K), the training set's."""
        self._G, self._labels, self._mixing, self._device = G, labels.to(device), style_mixing_prob, device
        self._division = division

    def draw_ws(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (count, L, W), with the graph of the mapping network, and labels (count, K); moves the mean of W.

        Of several processes, each moves its own towards its own latents: `share_average` puts them together.
        """
        dealer = self._division.dealer
        z = dealer.randn(count, self._G.z_dim, device=self._device)
        c = self._labels[dealer.randint(len(self._labels), count, device=self._device)]
        ws, w = losses.mixed_latents(self._G.mapping, z, c, self._mixing, dealer)
        self._G.mapping.update_average(w, *self._division.micro_batch)
        return ws, c

    @torch.no_grad()
    def draw_images(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (count, C, H, W) without a graph, and their labels (count, K)."""
        ws, c = self.draw_ws(count)
        return self._G.synthesis(ws), c

    def share_average(self) -> None:
        """Makes the mean of W that of all processes' latents, as one process would have it: once after some draws is as
        good as after each, for the mean is linear in all latents since it was the same everywhere."""
        self._division.processes.average_([self._G.mapping.w_avg])


class DiscriminatorStep(NamedTuple):
    """What a discriminator update did: how many real images it showed, those of other processes included; D's logits
    (N,1) for its own; and its report."""

    num_images: int
    real_logits: torch.Tensor
    report: Report


class DiscriminatorUpdate(Protocol):
    """Owns everything between real images and D's new weights: sampling, losses, step, its own state."""

    def step(self, draw_fakes: DrawImages) -> DiscriminatorStep: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


class GeneratorUpdate:
    """Gmain and its terms at every step, path length regularisation (StyleGAN2, 3.2) at every `pl_interval`-th.

    With a path length weight of 0 there is no such step.
    """

    def __init__(
        self,
        G: Generator,
        D: Discriminator,
        augment: AugmentFn,
        fakes: FakeSampler,
        batch_size: int,
        loss: LossConfig,
        optimizer: OptimizerConfig,
        terms: Sequence[GeneratorTerm] = (),
        execution: Execution = EAGER,
    ):
        """batch_size: of all processes and micro-batches together."""
        self._G, self._D, self._augment, self._fakes, self._loss = G, D, augment, fakes, loss
        parts = execution.division.parts
        self._batch_size, self._pl_batch_size = batch_size // parts, max(batch_size // loss.pl_batch_shrink, 1) // parts
        self._terms = [term for term in terms if term.weight != 0]
        self._optimizer = make_optimizer(G, optimizer, loss.pl_interval)
        self._pl_mean = torch.zeros([], device=next(G.parameters()).device)
        self._steps = 0
        self._execution, self._processes = execution, execution.division.processes

    def step(self) -> Report:
        with frozen(self._D):
            report = self._execution.run_phase(GENERATOR_LOSS.name, self._main)
        if self._loss.pl_weight and self._loss.pl_interval and self._steps % self._loss.pl_interval == 0:
            report |= self._execution.run_phase(PATH_LENGTHS.name, self._regularize)
        self._steps += 1
        return report

    def _main(self) -> Report:
        return self._execution.descend(GENERATOR_LOSS, self._optimizer, self._G, self._loss_of_images)

    def _loss_of_images(self) -> tuple[torch.Tensor, Report]:
        ws, c = self._fakes.draw_ws(self._batch_size)
        images = self._G.synthesis(ws)
        logits = self._D(self._augment(images), c)
        loss = losses.generator_loss(logits)
        report = {"Loss/G/loss": loss, "Loss/scores/fake": logits, "Loss/signs/fake": logits.sign()}
        for term in self._terms:
            value = term.function(images, c)
            if value.shape != loss.shape:  # would broadcast to something else without a word
                shapes = f"{tuple(value.shape)}, not {tuple(loss.shape)}"
                raise ValueError(f"generator term {term.name!r} returned shape {shapes}: one loss per image")
            report[f"Loss/G/{term.name}"] = value
            loss = loss + term.weight * value
        return loss.mean(), report

    def _regularize(self) -> Report:
        report = self._execution.descend(PATH_LENGTHS, self._optimizer, self._G, self._loss_of_lengths)
        length = report["Loss/G/path_length"].mean()
        self._processes.average_([length])
        pl_mean = self._pl_mean.lerp(length, self._loss.pl_decay)
        # A step that is left out must not spoil all later ones through the mean
        self._pl_mean.copy_(torch.where(pl_mean.isfinite(), pl_mean, self._pl_mean))
        return report

    def _loss_of_lengths(self) -> tuple[torch.Tensor, Report]:
        """The mean that lengths are compared with moves with them, and has a gradient; of micro-batches, each moves it
        with its own lengths alone, for the others' are not there yet."""
        ws, _ = self._fakes.draw_ws(self._pl_batch_size)
        images = self._G.synthesis(ws)
        noise = self._execution.division.dealer.randn(*images.shape, dtype=images.dtype, device=images.device)
        lengths = losses.path_lengths(images, ws, noise)
        pl_mean = self._pl_mean.lerp(self._processes.mean_with_gradient(lengths.mean()), self._loss.pl_decay)
        penalty = (lengths - pl_mean).square()
        loss = penalty.mean() * (self._loss.pl_weight * self._loss.pl_interval)
        return loss, {"Loss/G/path_length": lengths, "Loss/G/path_length_penalty": penalty}

    def state_dict(self) -> dict:
        return {"optimizer": optimizer_state(self._optimizer), "pl_mean": self._pl_mean, "steps": self._steps}

    def load_state_dict(self, state: dict) -> None:
        restore_optimizer(self._optimizer, state["optimizer"])
        self._pl_mean.copy_(state["pl_mean"])
        self._steps = state["steps"]


class PlainDiscriminatorUpdate:
    """Dmain at every step, R1 on the same reals at every `r1_interval`-th; reals come from an endless iterator.

    With an R1 weight of 0 there is no R1 step at all: one with zero gradients would still move Adam's second moments.
    """

    def __init__(
        self,
        D: Discriminator,
        augment: AugmentFn,
        real_batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
        loss: LossConfig,
        optimizer: OptimizerConfig,
        execution: Execution = EAGER,
    ):
        """real_batches yields images (N,C,H,W) in [-1,1] and labels (N,K), on D's device: this process' own, as many as
        every other one gets. N may vary."""
        self._D, self._augment, self._real_batches, self._loss = D, augment, real_batches, loss
        self._optimizer = make_optimizer(D, optimizer, loss.r1_interval)
        self._steps = 0
        self._execution = execution

    def step(self, draw_fakes: DrawImages) -> DiscriminatorStep:
        images, c = next(self._real_batches)
        main = functools.partial(self._main, draw_fakes)
        report = self._execution.run_phase(DISCRIMINATOR_LOSS.name, main, images, c)
        logits = report["Loss/scores/real"]
        if self._loss.r1_gamma and self._loss.r1_interval and self._steps % self._loss.r1_interval == 0:
            report |= self._execution.run_phase(R1.name, self._regularize, images, c)
        self._steps += 1
        return DiscriminatorStep(len(images) * self._execution.division.processes.world_size, logits, report)

    def _main(self, draw_fakes: DrawImages, images: torch.Tensor, c: torch.Tensor) -> Report:
        loss_of = functools.partial(self._loss_of_both, draw_fakes)
        return self._execution.descend(DISCRIMINATOR_LOSS, self._optimizer, self._D, loss_of, images, c)

    def _loss_of_both(
        self, draw_fakes: DrawImages, images: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, Report]:
        """One pass of D for fakes and reals, whose minibatch statistics stay apart: rounding may differ from that of
        two passes."""
        fake_images, fake_c = draw_fakes(len(images))
        fake_images, images = self._augment(fake_images), self._augment(images)
        logits = self._D(torch.cat([fake_images, images]), torch.cat([fake_c, c]), num_batches=2)
        fake_logits, real_logits = logits.split(len(images))
        fake_loss, real_loss = losses.fake_loss(fake_logits), losses.real_loss(real_logits)
        report = {"Loss/D/loss": fake_loss + real_loss, "Loss/scores/real": real_logits}
        return fake_loss.mean() + real_loss.mean(), report | {"Loss/signs/real": real_logits.sign()}

    def _regularize(self, images: torch.Tensor, c: torch.Tensor) -> Report:
        return self._execution.descend(R1, self._optimizer, self._D, self._loss_of_penalty, images, c)

    def _loss_of_penalty(self, images: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, Report]:
        images = images.detach().requires_grad_(True)
        penalty = losses.r1_penalty(images, self._D(self._augment(images), c))
        loss = penalty.mean() * (self._loss.r1_gamma / 2 * self._loss.r1_interval)
        return loss, {"Loss/D/r1_penalty": penalty}

    def state_dict(self) -> dict:
        return {"optimizer": optimizer_state(self._optimizer), "steps": self._steps}

    def load_state_dict(self, state: dict) -> None:
        restore_optimizer(self._optimizer, state["optimizer"])
        self._steps = state["steps"]


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No parameter of `network` takes a gradient inside; afterwards those do that did before."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
