"""The moving average of the generator's weights: what is shown, measured and shipped (Progressive GAN, section 4)."""

import torch
from torch import nn


def ema_decay(batch_size: int, images_seen: int, ema_kimg: float, rampup: float | None) -> float:
    """Decay per step for a half-life of ema_kimg thousand images, at most `rampup` times those of earlier steps."""
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, images_seen * rampup)
    return 0.5 ** (batch_size / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * network; buffers are copied. On a GPU, a few launches for all."""
    pairs = list(zip(average.parameters(), network.parameters(), strict=True))
    if pairs:
        slow, fast = map(list, zip(*pairs, strict=True))
        torch._foreach_lerp_(slow, fast, 1 - decay)
    pairs = list(zip(average.buffers(), network.buffers(), strict=True))
    if pairs:
        slow, fast = map(list, zip(*pairs, strict=True))
        torch._foreach_copy_(slow, fast)
