"""Images by seed: the same seed gives the same image, whatever else is generated beside it."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from .errors import NonFiniteError
from .generator import Generator
from .images import to_uint8


class GeneratedImage(NamedTuple):
    """One generated image: uint8 (C,H,W) pixels, and its class in a conditional model."""

    seed: int
    class_index: int | None
    pixels: np.ndarray


def latents_of_seeds(seeds: Sequence[int], z_dim: int) -> torch.Tensor:
    """float32 (N, z_dim): one latent per seed, drawn as the official scripts draw them."""
    rows = [np.random.RandomState(seed).randn(z_dim) for seed in seeds]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def labels_of_classes(classes: Sequence[int | None], num_classes: int) -> torch.Tensor:
    """float32 (N, num_classes) one-hot; (N, 0) for an unconditional model, whose classes are None."""
    if num_classes == 0:
        return torch.zeros(len(classes), 0)
    return torch.eye(num_classes)[list(classes)]


@torch.no_grad()
def pixels_of_latents(G: Generator, z: torch.Tensor, c: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    """uint8 (N,C,H,W) batches for latents z (M,Z) and labels c (M,K), on G's device: constant noise, no truncation.

    Raises:
        NonFiniteError: an image holds NaN or Inf.
    """
    device, first = next(G.parameters()).device, 0
    for z_batch, c_batch in zip(z.split(batch_size), c.split(batch_size), strict=True):
        images = G(z_batch.to(device), c_batch.to(device), noise_mode="const")
        check_finite(images, [f"latent {first + index}" for index in range(len(images))])
        first += len(images)
        yield to_uint8(images)


@torch.no_grad()
def ws_of_seeds(
    G: Generator, seeds: Sequence[int], classes: Sequence[int] | None = None, truncation_psi: float = 1.0
) -> torch.Tensor:
    """(N, L, W) on G's device: the latents of seeds, and of a class for each where G is conditional."""
    device = next(G.parameters()).device
    z = latents_of_seeds(seeds, G.z_dim).to(device)
    c = labels_of_classes([None] * len(seeds) if classes is None else classes, G.c_dim).to(device)
    return G.mapping(z, c, truncation_psi=truncation_psi)


@torch.no_grad()
def images_of_seeds(
    G: Generator,
    seeds: Sequence[int],
    classes: Sequence[int] | None = None,
    truncation_psi: float = 1.0,
    noise_mode: str = "const",
    batch_size: int = 16,
) -> Iterator[GeneratedImage]:
    """Generates one image per seed, in order, on the device that G is on.

    Args:
        classes: a class per seed for a conditional G, None for an unconditional one.
        truncation_psi: 1 is no truncation, 0 the mean image.
        noise_mode: const, none, or random; random noise is drawn with the seed too, one image at a time.
    Raises:
        NonFiniteError: an image holds NaN or Inf.
    """
    if noise_mode == "random":
        batch_size = 1
    wanted = zip(seeds, [None] * len(seeds) if classes is None else classes, strict=True)
    while batch := list(itertools.islice(wanted, batch_size)):
        batch_seeds, batch_classes = zip(*batch, strict=True)
        ws = ws_of_seeds(G, batch_seeds, batch_classes, truncation_psi)
        with _drawn_with(batch_seeds[0], enabled=noise_mode == "random"):
            images = G.synthesis(ws, noise_mode=noise_mode)
        check_finite(images, [f"seed {seed}" for seed in batch_seeds])
        for seed, class_index, pixels in zip(batch_seeds, batch_classes, to_uint8(images).cpu().numpy(), strict=True):
            yield GeneratedImage(seed, class_index, pixels)


@torch.no_grad()
def images_of_ws(
    G: Generator, ws: torch.Tensor, noise_mode: str = "const", batch_size: int = 16
) -> Iterator[np.ndarray]:
    """uint8 (C,H,W) for each of the latents ws (N, L, W), in order; random noise is the same for every image.

    Raises:
        NonFiniteError: an image holds NaN or Inf.
    """
    device = next(G.parameters()).device
    first = 0
    for batch in ws.split(1 if noise_mode == "random" else batch_size):
        with _drawn_with(0, enabled=noise_mode == "random"):
            images = G.synthesis(batch.to(device), noise_mode=noise_mode)
        check_finite(images, [f"latent {first + index}" for index in range(len(batch))])
        first += len(batch)
        yield from to_uint8(images).cpu().numpy()


@contextlib.contextmanager
def _drawn_with(seed: int, enabled: bool) -> Iterator[None]:
    """What is drawn in the block is drawn with `seed`; the state of torch's generators is as before it afterwards."""
    with torch.random.fork_rng(enabled=enabled):
        if enabled:
            torch.manual_seed(seed)
        yield


def check_finite(images: torch.Tensor, names: Sequence[str]) -> None:
    """Raises NonFiniteError, with the name of the first of the images (N,C,H,W) that holds NaN or Inf."""
    broken = ~images.isfinite().flatten(1).all(dim=1)
    if broken.any():
        name = names[int(broken.nonzero()[0])]
        raise NonFiniteError(f"the image of {name} holds NaN or Inf: the network is broken")
