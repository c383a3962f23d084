"""Differentiable augmentation of what the discriminator sees (StyleGAN2-ADA)."""

from .pipe import AugmentPipe
from .presets import AUGMENT_PIPES, make_augment_pipe

__all__ = ["AUGMENT_PIPES", "AugmentPipe", "make_augment_pipe"]
