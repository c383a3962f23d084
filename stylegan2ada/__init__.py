"""StyleGAN2 with adaptive discriminator augmentation, written from the papers."""

from .augment import AugmentPipe
from .checkpoint import Snapshot, load
from .discriminator import Discriminator
from .generator import Generator

__all__ = ["AugmentPipe", "Discriminator", "Generator", "Snapshot", "load"]
