"""Losses, each one value per image (N,): the update reduces them once, which lets a private update take their place.

Legend: N images, L latents per image, W latent size.
"""

import math

import torch
import torch.nn.functional as F

from .dealing import UNDIVIDED, Dealer
from .generator import MappingNetwork


def generator_loss(fake_logits: torch.Tensor) -> torch.Tensor:
    """Non-saturating logistic loss -log sigmoid(D(fake)) of the generator (GAN, section 3). (N, 1) -> (N,)."""
    return F.softplus(-fake_logits).squeeze(1)


def fake_loss(fake_logits: torch.Tensor) -> torch.Tensor:
    """-log(1 - sigmoid(D(fake))), the discriminator's loss on fakes. (N, 1) -> (N,)."""
    return F.softplus(fake_logits).squeeze(1)


def real_loss(real_logits: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(D(real)), the discriminator's loss on real images. (N, 1) -> (N,)."""
    return F.softplus(-real_logits).squeeze(1)


def r1_penalty(real_images: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
    """Squared norm of D's gradient with respect to each real image (Mescheder et al. 2018, R1, without gamma/2). (N,).

    `real_images` must require a gradient and be what `real_logits` was computed from.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def path_lengths(images: torch.Tensor, ws: torch.Tensor, pixel_noise: torch.Tensor) -> torch.Tensor:
    """Norm of J^T y, J the Jacobian of the images by their latents (StyleGAN2 paper, section 3.2). (N,).

    images (N,C,H,W) computed from ws (N,L,W); pixel_noise, unit normal, shaped like images. The norm is the root of the
    sum over W and the mean over L.
    """
    direction = pixel_noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * direction).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def mixed_latents(
    mapping: MappingNetwork, z: torch.Tensor, c: torch.Tensor, probability: float, dealer: Dealer = UNDIVIDED
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (N, L, W) with style mixing (StyleGAN, section 3.1), and the unmixed ones (N, W).

    With `probability`, all images of the batch, whoever works on them, take the layers from one random cutoff on from a
    second latent. Only a CPU saves the work for one that is not used: elsewhere reading the draw would make the host
    wait for the device.
    """
    w = mapping.map(z, c)
    ws = w[:, None].expand(-1, mapping.num_ws, -1)
    if probability > 0 and mapping.num_ws > 1:
        mix = _mix_if_drawn if z.device.type == "cpu" else _mix_by_mask
        ws = mix(mapping, ws, z, c, probability, dealer)
    return ws, w


def _mix_if_drawn(
    mapping: MappingNetwork, ws: torch.Tensor, z: torch.Tensor, c: torch.Tensor, probability: float, dealer: Dealer
) -> torch.Tensor:
    if torch.rand([]).item() >= probability:
        return ws
    cutoff = int(torch.randint(1, mapping.num_ws, []).item())
    second = mapping.map(_another(z, dealer), c)[:, None].expand(-1, mapping.num_ws - cutoff, -1)
    return torch.cat([ws[:, :cutoff], second], dim=1)


def _mix_by_mask(
    mapping: MappingNetwork, ws: torch.Tensor, z: torch.Tensor, c: torch.Tensor, probability: float, dealer: Dealer
) -> torch.Tensor:
    """The same with draws that stay on the device: a cutoff behind the last layer mixes nothing."""
    mixes = torch.rand([], device=z.device) < probability
    cutoff = torch.where(mixes, torch.randint(1, mapping.num_ws, [], device=z.device), mapping.num_ws)
    second = mapping.map(_another(z, dealer), c)[:, None]
    return torch.where(torch.arange(mapping.num_ws, device=z.device)[:, None] < cutoff, ws, second)


def _another(z: torch.Tensor, dealer: Dealer) -> torch.Tensor:
    return dealer.randn(*z.shape, dtype=z.dtype, device=z.device)
