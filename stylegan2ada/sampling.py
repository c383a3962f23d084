"""Images by seed: the same seed gives the same image, whatever else is generated beside it."""

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
    return torch.from_numpy(np.stack(rows)).float()


@torch.no_grad()
def pixels_of_latents(G: Generator, z: torch.Tensor, c: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    """uint8 (N,C,H,W) batches for latents z (M,Z) and labels c (M,K), on G's device: constant noise, no truncation."""
    device = next(G.parameters()).device
    for z_batch, c_batch in zip(z.split(batch_size), c.split(batch_size), strict=True):
        yield to_uint8(G(z_batch.to(device), c_batch.to(device), noise_mode="const"))


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
    device = next(G.parameters()).device
    if noise_mode == "random":
        batch_size = 1
    wanted = zip(seeds, [None] * len(seeds) if classes is None else classes, strict=True)
    while batch := list(itertools.islice(wanted, batch_size)):
        batch_seeds, batch_classes = zip(*batch, strict=True)
        z = latents_of_seeds(batch_seeds, G.z_dim).to(device)
        c = torch.zeros(len(batch), G.c_dim, device=device)
        if classes is not None:
            c[torch.arange(len(batch)), list(batch_classes)] = 1
        with torch.random.fork_rng(enabled=noise_mode == "random"):
            if noise_mode == "random":
                torch.manual_seed(batch_seeds[0])
            images = G(z, c, truncation_psi=truncation_psi, noise_mode=noise_mode)
        broken = ~images.isfinite().flatten(1).all(dim=1)
        if broken.any():
            seed = batch_seeds[int(broken.nonzero()[0])]
            raise NonFiniteError(f"the image of seed {seed} holds NaN or Inf: the network is broken")
        for seed, class_index, pixels in zip(batch_seeds, batch_classes, to_uint8(images).cpu().numpy(), strict=True):
            yield GeneratedImage(seed, class_index, pixels)
