"""StyleGAN2 with adaptive discriminator augmentation, written from the papers.

    from stylegan2ada import load

    G = load("network-snapshot-004200.safetensors").generator
    images = G(torch.randn(4, G.z_dim), torch.eye(G.c_dim)[[0, 0, 1, 1]])  # (4, C, H, W) in [-1, 1]

docs/api.md shows the rest.
"""

from .augment import AugmentPipe
from .checkpoint import Snapshot, load
from .discriminator import Discriminator
from .generator import Generator

__all__ = ["AugmentPipe", "Discriminator", "Generator", "Snapshot", "load"]
