"""Tiny networks with augmentation, data and a moving average: all parts of a training step, on any device."""

import copy
import itertools

import torch

from stylegan2ada.ada import AdaController
from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.compute import set_precision
from stylegan2ada.config import AugmentConfig, LossConfig, OptimizerConfig
from stylegan2ada.discriminator import Discriminator
from stylegan2ada.ema import ema_decay, update_ema
from stylegan2ada.generator import Generator
from stylegan2ada.updates import EAGER, Execution, FakeSampler, GeneratorUpdate, PlainDiscriminatorUpdate

BATCH, RESOLUTION = 4, 8


class StepParts:
    """The same numbers for the same device, every time. R1 every 4 steps, path lengths every 2."""

    def __init__(
        self,
        execution: Execution = EAGER,
        device: str = "cpu",
        pipe: str | None = "bgcfnc",
        precision: str = "fp32",
        terms=(),
        sizes=(BATCH,),
    ):
        """pipe None: no augmentation. sizes: of the batches of reals, in turn."""
        torch.manual_seed(0)
        self.device = torch.device(device)
        network = {"channel_base": 64, "channel_max": 8}
        if precision == "fp16":
            network |= {"num_fp16_res": 1, "conv_clamp": 256.0}
        self.G = Generator(6, 2, 6, RESOLUTION, 1, {"num_layers": 2}, network).to(self.device)
        self.D = Discriminator(2, RESOLUTION, 1, mapping_kwargs={"num_layers": 1}, **network).to(self.device)
        for part in (self.G, self.D):
            set_precision(part, precision)
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False)
        self.pipe = make_augment_pipe(pipe or "bg").to(self.device)
        self.pipe.p.fill_(0.5)
        self.ada = AdaController(self.pipe.p, AugmentConfig(ada_kimg=0.1, interval=2))
        labels = torch.eye(2)[[0, 0, 0, 1]]
        self.fakes = FakeSampler(self.G, labels, 0.9, self.device)
        batches = [
            (torch.randn(size, 1, RESOLUTION, RESOLUTION).to(self.device), labels[:size].to(self.device))
            for size in (*sizes, *sizes, *sizes)
        ]
        self.reals = itertools.cycle(batches)
        loss = LossConfig(r1_gamma=1.0, r1_interval=4, pl_interval=2)
        augment = self.pipe if pipe else lambda images: images
        optimizer = OptimizerConfig(0.002)
        self.update_G = GeneratorUpdate(self.G, self.D, augment, self.fakes, BATCH, loss, optimizer, terms, execution)
        self.update_D = PlainDiscriminatorUpdate(self.D, augment, self.reals, loss, optimizer, execution)
        self.images_seen = 0

    def step(self) -> dict[str, torch.Tensor]:
        """One step of everything; the report of both networks."""
        report = self.update_G.step()
        result = self.update_D.step(self.fakes.draw_images)
        update_ema(self.G_ema, self.G, ema_decay(result.num_images, self.images_seen, 0.05, 0.5))
        self.ada.observe(result.real_logits)
        self.images_seen += result.num_images
        return report | result.report

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that lasts: networks, moving average, p, Adam's moments, the mean path length."""
        tensors = {"pl_mean": self.update_G.state_dict()["pl_mean"]}
        for name in ("G", "D", "G_ema", "pipe"):
            tensors |= {f"{name}/{key}": value for key, value in getattr(self, name).state_dict().items()}
        for name, update in {"G": self.update_G, "D": self.update_D}.items():
            for index, moments in update.state_dict()["optimizer"].items():
                tensors |= {f"{name}/{index}/{key}": value for key, value in moments.items()}
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def differing(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> list[str]:
    assert ours.keys() == theirs.keys()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]
