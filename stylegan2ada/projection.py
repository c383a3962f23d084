"""Projection: the latent whose image looks most like a given one (StyleGAN2, appendix D).

The search starts at the mean of W, in a conditional model that of one class, and follows the gradient of a distance
between images; noise in W, which fades, keeps it from settling too early.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch.nn import functional

from .errors import NonFiniteError
from .generator import Generator
from .perceptual import Features, distance
from .sampling import labels_of_classes

SPACES = ("w", "w+")

# Appendix D; shares are of all steps.
_LEARNING_RATE, _RAMP_UP_SHARE, _RAMP_DOWN_SHARE = 0.1, 0.05, 0.25
_W_NOISE, _W_NOISE_SHARE = 0.05, 0.75
_NOISE_MAP_WEIGHT, _SMALLEST_NOISE_MAP_PX = 1e5, 8

_MAPPED_AT_ONCE = 1000

OnStep = Callable[[int, float, torch.Tensor], None]  # steps done, distance, ws (1, L, W)


@dataclasses.dataclass(frozen=True)
class ProjectionSettings:
    """How to search.

    space: "w", one latent for all layers, as the generator was trained; "w+", one for each, which fits nearly any
        image but leaves what the generator has learned.
    fit_noise_maps: fit the noise inputs too, as the paper does; they then belong to the result.
    num_samples: latents that the mean and spread of W are estimated from.
    """

    num_steps: int = 1000
    space: str = "w"
    fit_noise_maps: bool = False
    seed: int = 0
    num_samples: int = 10_000


@dataclasses.dataclass(frozen=True)
class Projection:
    """What was found: ws (1, L, W), its image float (1,C,H,W), distances to the target at the start and now,
    and the fitted noise maps by the names of the generator's buffers."""

    ws: torch.Tensor
    image: torch.Tensor
    distance: float
    start_distance: float
    noise_maps: dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class WStatistics:
    """Of one class: mean (W,), and the root mean square distance of latents from it."""

    mean: torch.Tensor
    spread: float


@torch.no_grad()
def w_statistics(G: Generator, class_index: int | None, settings: ProjectionSettings) -> WStatistics:
    """From `num_samples` latents, the same ones for every class."""
    device = next(G.parameters()).device
    random = np.random.RandomState(settings.seed)
    label = labels_of_classes([class_index], G.c_dim).to(device)
    w = []
    for count in _portions(settings.num_samples, _MAPPED_AT_ONCE):
        z = torch.from_numpy(random.randn(count, G.z_dim).astype(np.float32)).to(device)
        w.append(G.mapping.map(z, label.expand(count, -1)))
    w = torch.cat(w)
    mean = w.mean(dim=0)
    return WStatistics(mean, float((w - mean).square().sum(dim=1).mean().sqrt()))


@torch.no_grad()
def distances_of_classes(
    G: Generator, target: torch.Tensor, features: Features, settings: ProjectionSettings
) -> list[float]:
    """For each class, the distance of its mean image to the target (1,C,H,W) in [-1, 1]."""
    wanted = features(target)
    means = [w_statistics(G, one, settings).mean for one in range(G.c_dim)]
    return [float(distance(features(G.synthesis(_repeated(G, mean), "const")), wanted)) for mean in means]


def project(
    G: Generator,
    target: torch.Tensor,
    features: Features,
    class_index: int | None,
    settings: ProjectionSettings,
    on_step: OnStep | None = None,
) -> Projection:
    """Searches the latent of `target`, float (1,C,H,W) in [-1, 1] on G's device.

    The same seed draws the same numbers on every device; on a CPU it gives the same result to the last bit.

    Args:
        class_index: where the search starts; the class that the mean of W is taken of.
        on_step: called after every step; the distance is that before it, with the noise of that step.
    Raises:
        NonFiniteError: a distance is NaN or Inf.
    """
    statistics = w_statistics(G, class_index, settings)
    drawing = torch.Generator().manual_seed(settings.seed)  # on the CPU: the same numbers on every device
    noise_maps = _noise_maps(G, drawing) if settings.fit_noise_maps else {}
    w = _repeated(G, statistics.mean)[:, : G.num_ws if settings.space == "w+" else 1].clone().requires_grad_()
    optimizer = torch.optim.Adam([w, *noise_maps.values()], lr=0.0, betas=(0.9, 0.999))

    def synthesize(latents: torch.Tensor) -> torch.Tensor:
        arguments = latents.expand(-1, G.num_ws, -1), "const"
        return torch.func.functional_call(G.synthesis, noise_maps, arguments)

    with torch.no_grad():
        wanted = features(target)
        start_distance = float(distance(features(synthesize(w)), wanted))
    for step in range(settings.num_steps):
        done = step / settings.num_steps
        optimizer.param_groups[0]["lr"] = learning_rate(done)
        noise = torch.randn(w.shape, generator=drawing).to(w.device) * (statistics.spread * w_noise(done))
        here = distance(features(synthesize(w + noise)), wanted).sum()
        if not here.isfinite():
            raise NonFiniteError(f"the distance is {float(here.detach())} in step {step}: the network is broken")
        optimizer.zero_grad(set_to_none=True)
        (here + _NOISE_MAP_WEIGHT * sum(autocorrelation(noise_map) for noise_map in noise_maps.values())).backward()
        optimizer.step()
        _normalise(noise_maps)
        if on_step:
            on_step(step + 1, float(here.detach()), w.detach().clone().expand(-1, G.num_ws, -1))
    with torch.no_grad():
        image = synthesize(w)
        end_distance = float(distance(features(image), wanted))
    ws = w.detach().expand(-1, G.num_ws, -1).clone()
    found_maps = {f"synthesis.{name}": noise_map.detach() for name, noise_map in noise_maps.items()}
    return Projection(ws, image, end_distance, start_distance, found_maps)


def learning_rate(done: float) -> float:
    """At a share of all steps: rises linearly at first, falls along a cosine at the end."""
    falling = min(1.0, (1.0 - done) / _RAMP_DOWN_SHARE)
    return _LEARNING_RATE * min(1.0, done / _RAMP_UP_SHARE) * (0.5 - 0.5 * math.cos(math.pi * falling))


def w_noise(done: float) -> float:
    """Standard deviation of the noise in W, in units of W's spread, at a share of all steps."""
    return _W_NOISE * max(0.0, 1.0 - done / _W_NOISE_SHARE) ** 2


def autocorrelation(noise_map: torch.Tensor) -> torch.Tensor:
    """How far a noise map (H, W) is from white, on all scales: it must not carry the image (appendix D)."""
    total = noise_map.new_zeros(())
    while True:
        for axis in (0, 1):
            total = total + (noise_map * noise_map.roll(1, dims=axis)).mean().square()
        if len(noise_map) <= _SMALLEST_NOISE_MAP_PX:
            return total
        noise_map = functional.avg_pool2d(noise_map[None, None], 2)[0, 0] * 2  # white noise keeps its variance


def _noise_maps(G: Generator, drawing: torch.Generator) -> dict[str, torch.Tensor]:
    """Fresh white noise for every noise input of the synthesis network, to be fitted."""
    buffers = {name: buffer for name, buffer in G.synthesis.named_buffers() if name.endswith("noise_const")}
    return {
        name: torch.randn(buffer.shape, generator=drawing).to(buffer.device).requires_grad_()
        for name, buffer in buffers.items()
    }


@torch.no_grad()
def _normalise(noise_maps: Mapping[str, torch.Tensor]) -> None:
    """To zero mean and unit variance."""
    for noise_map in noise_maps.values():
        noise_map -= noise_map.mean()
        noise_map *= noise_map.square().mean().rsqrt()


def _repeated(G: Generator, w: torch.Tensor) -> torch.Tensor:
    """(W,) to (1, L, W)."""
    return w.expand(1, G.num_ws, -1)


def _portions(total: int, size: int) -> Iterator[int]:
    for first in range(0, total, size):
        yield min(size, total - first)
