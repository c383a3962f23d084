"""How a network computes: the type of its activations, the kernels of its operators, its share of a batch's random
numbers; none is part of its state.

Parameters, styles, demodulation, the sum of the images, minibatch statistics, dense layers and losses are float32 at
every precision; convolutions and what stands between them run in the chosen type.
"""

import torch
from torch import nn

from .config import PRECISIONS
from .dealing import Dealer, DealerUser
from .discriminator import Discriminator
from .generator import SynthesisNetwork
from .layers import KernelUser


def set_precision(network: nn.Module, precision: str) -> None:
    """Activations of all resolutions in bfloat16 (`bf16`), of the `num_fp16_res` highest ones in float16 (`fp16`, as
    official), or of none (`fp32`). 4x4, where the statistics are, stays float32 in the discriminator."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    for part in network.modules():
        if isinstance(part, SynthesisNetwork | Discriminator):
            for block in part.blocks():
                block.dtype = _block_dtype(precision, block.resolution, part.img_resolution, part.num_fp16_res)


def set_kernels(module: nn.Module, choice: str) -> None:
    """`auto`: fused kernels where there are any; `fused`: those or an error; `reference`: torch's operators."""
    for part in module.modules():
        if isinstance(part, KernelUser):
            part.kernels = choice


def set_dealer(module: nn.Module, dealer: Dealer) -> None:
    """Who deals the random numbers that `module` draws per image: noise and augmentations."""
    for part in module.modules():
        if isinstance(part, DealerUser):
            part.dealer = dealer


def _block_dtype(precision: str, resolution: int, img_resolution: int, num_fp16_res: int) -> torch.dtype | None:
    if precision == "bf16":
        return torch.bfloat16
    high = resolution > 4 and resolution * 2**num_fp16_res > img_resolution  # 4x4 never is, as official
    return torch.float16 if precision == "fp16" and high else None
