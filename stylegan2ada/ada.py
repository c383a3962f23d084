"""The controller of adaptive discriminator augmentation (StyleGAN2-ADA paper, section 3.1)."""

import torch

from .config import AugmentConfig
from .processes import ALONE, Processes


class AdaController:
    """Moves the augmentation probability p so that the mean sign of D's real logits follows the target.

    Every `interval` steps: p += sign(E[sign D(real)] - target) * images / (ada_kimg * 1000), never below 0. The paper
    caps p nowhere; p at or above 1 means that the discriminator overfits whatever the augmentation.
    """

    def __init__(self, p: torch.Tensor, config: AugmentConfig, processes: Processes = ALONE):
        """`p`: the augmentation pipe's scalar buffer, changed in place. It, and the state, are the same in all
        processes."""
        self._p = p
        self._config = config
        self._processes = processes
        self._sign_sum = torch.zeros_like(p)
        self._num_logits = 0
        self._num_images = 0
        self._steps = 0

    def observe(self, real_logits: torch.Tensor) -> None:
        """Counts one step's logits (N, 1) of augmented real images; at the end of an interval adjusts p. Of several
        processes, each brings as many."""
        signs = real_logits.detach().sign().sum()
        self._processes.sum_(signs)
        self._sign_sum += signs
        self._num_logits += real_logits.numel() * self._processes.world_size
        self._num_images += real_logits.shape[0] * self._processes.world_size
        self._steps += 1
        if self._steps % self._config.interval == 0:
            self._adjust()

    def _adjust(self) -> None:
        if self._num_logits > 0:
            overfitting = self._sign_sum / self._num_logits - self._config.target
            self._p += overfitting.sign() * (self._num_images / (self._config.ada_kimg * 1000))
            self._p.clamp_(min=0)
        self._sign_sum.zero_()
        self._num_logits = self._num_images = 0

    def state_dict(self) -> dict:
        return {
            "sign_sum": self._sign_sum.item(),
            "num_logits": self._num_logits,
            "num_images": self._num_images,
            "steps": self._steps,
        }

    def load_state_dict(self, state: dict) -> None:
        self._sign_sum.fill_(state["sign_sum"])
        self._num_logits, self._num_images, self._steps = state["num_logits"], state["num_images"], state["steps"]
