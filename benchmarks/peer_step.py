"""The phases of a peer: the public classes of a checkout of the official StyleGAN2-ADA PyTorch repository.

Only its published interface is used: constructors, `StyleGAN2Loss.accumulate_gradients`, `AugmentPipe`, the switches
of its gradient fixes. The checkout stays as it is. What keeps it from running on a current torch is mended from
outside, in this process alone: its differentiable grid_sample needs an operator that torch has since changed, so ours
takes that module's place.
"""

import importlib.util
import statistics
import sys
import types
import warnings
from functools import partial
from pathlib import Path

import torch

from stylegan2ada.augment.presets import AUGMENT_PIPES
from stylegan2ada.config import TrainingConfig
from stylegan2ada.errors import UserError
from stylegan2ada.ops.grid_sample import grid_sample

from .step_setup import Seconds, StepSetup, count_parameters, random_reals, timed

NEEDED = ("training/networks.py", "training/loss.py", "training/augment.py")
FOR_DOWNLOADS = "requests"  # imported by its helpers; nothing is downloaded here
FP16_RESOLUTIONS, FP16_CLAMP = 4, 256  # its default on CUDA


def check_checkout(path: str) -> None:
    """Raises UserError unless the folder looks like such a checkout."""
    missing = [name for name in NEEDED if not (Path(path) / name).is_file()]
    if missing:
        raise UserError(
            f"--peer {path}: no {missing[0]} there; give the folder of a checkout of the official "
            f"StyleGAN2-ADA PyTorch repository"
        )


class PeerSteps:
    """As its own training does: gradients only for the network of the phase, Adam corrected for lazy regularisers."""

    def __init__(self, setup: StepSetup):
        config = setup.training_config()
        device = self._device = torch.device(setup.device)
        _import_from(setup.peer)
        uses_fp16 = setup.precision == "fp16"
        self._G, self._D = _networks(config, uses_fp16)
        for network in (self._G, self._D):
            network.train().requires_grad_(False).to(device)
        self.num_parameters = count_parameters(self._G, self._D)
        self.facts = ["fp16 in its 4 highest resolutions" if uses_fp16 else "fp32"]
        self._loss = _loss(config, self._G, self._D, device)
        loss, adam = config.loss, config.optimizer
        self._gains = {"Gmain": 1, "Greg": loss.pl_interval, "Dmain": 1, "Dreg": loss.r1_interval}
        self._networks = {"Gmain": self._G, "Greg": self._G, "Dmain": self._D, "Dreg": self._D}
        self._optimizers = {}
        for network, interval in {self._G: loss.pl_interval, self._D: loss.r1_interval}.items():
            ratio = interval / (interval + 1)
            betas = (adam.beta1**ratio, adam.beta2**ratio)
            self._optimizers[network] = torch.optim.Adam(
                network.parameters(), lr=adam.learning_rate * ratio, betas=betas, eps=adam.eps
            )
        self._reals = random_reals(config, device)

    def measure(self, repeats: int) -> Seconds:
        return {
            phase: statistics.median(timed(partial(self._run, phase), self._device)[0] for _ in range(repeats))
            for phase in self._gains
        }

    def _run(self, phase: str) -> None:
        images, labels = self._reals
        network = self._networks[phase]
        optimizer = self._optimizers[network]
        latents = torch.randn([len(images), self._G.z_dim], device=self._device)
        optimizer.zero_grad(set_to_none=True)
        network.requires_grad_(True)
        self._loss.accumulate_gradients(
            phase=phase, real_img=images, real_c=labels, gen_z=latents, gen_c=labels, sync=True, gain=self._gains[phase]
        )
        network.requires_grad_(False)
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        if not gradients:
            raise UserError(f"{phase} of this checkout left no gradient: it does not run as the official code does")
        for gradient in gradients:  # what is not a number counts as zero there
            gradient.nan_to_num_(nan=0.0, posinf=1e5, neginf=-1e5)
        optimizer.step()


def _import_from(checkout: str) -> None:
    """Puts the checkout first on the path, our grid_sample in the place of its, and sets its switches."""
    # A warning would show a line of the checkout's source; what it says is enough.
    warnings.formatwarning = lambda message, category, *_, **__: f"{category.__name__}: {message}\n"
    sys.path.insert(0, str(Path(checkout).resolve()))
    if importlib.util.find_spec(FOR_DOWNLOADS) is None:
        sys.modules[FOR_DOWNLOADS] = types.ModuleType(FOR_DOWNLOADS)
    replacement = types.ModuleType("torch_utils.ops.grid_sample_gradfix")
    replacement.enabled, replacement.grid_sample = True, grid_sample
    try:
        import torch_utils.ops

        sys.modules[replacement.__name__] = torch_utils.ops.grid_sample_gradfix = replacement
        from torch_utils.ops import conv2d_gradfix
    except ImportError:  # another shape of checkout; its training modules will say what they miss
        return
    conv2d_gradfix.enabled = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def _networks(config: TrainingConfig, uses_fp16: bool) -> tuple[torch.nn.Module, torch.nn.Module]:
    from training.networks import Discriminator, Generator

    data, network = config.data, config.network
    sizes = {
        "channel_base": network.channel_base,
        "channel_max": network.channel_max,
        "num_fp16_res": FP16_RESOLUTIONS if uses_fp16 else 0,
        "conv_clamp": FP16_CLAMP if uses_fp16 else None,
    }
    images = {"c_dim": data.num_classes, "img_resolution": data.resolution_px, "img_channels": data.num_channels}
    G = Generator(
        z_dim=network.z_dim, w_dim=network.w_dim, **images,
        mapping_kwargs={"num_layers": network.mapping_layers}, synthesis_kwargs=sizes,
    )  # fmt: skip
    D = Discriminator(**images, **sizes, epilogue_kwargs={"mbstd_group_size": network.mbstd_group_size})
    return G, D


def _loss(config: TrainingConfig, G: torch.nn.Module, D: torch.nn.Module, device: torch.device) -> object:
    from training.augment import AugmentPipe
    from training.loss import StyleGAN2Loss

    pipe = None
    if config.augment.mode != "noaug":
        pipe = AugmentPipe(**AUGMENT_PIPES[config.augment.pipe]).train().requires_grad_(False).to(device)
        pipe.p.copy_(torch.as_tensor(config.augment.p))
    loss = config.loss
    return StyleGAN2Loss(
        device=device, G_mapping=G.mapping, G_synthesis=G.synthesis, D=D, augment_pipe=pipe,
        style_mixing_prob=loss.style_mixing_prob, r1_gamma=loss.r1_gamma, pl_batch_shrink=loss.pl_batch_shrink,
        pl_decay=loss.pl_decay, pl_weight=loss.pl_weight,
    )  # fmt: skip
