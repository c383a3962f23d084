"""Snapshots: one safetensors file with the networks, and as JSON in its header the settings that rebuild them."""

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .augment import AugmentPipe, make_augment_pipe
from .config import TrainingConfig, config_from_dict
from .discriminator import Discriminator
from .errors import UserError
from .generator import Generator, channels_at, resolutions_up_to
from .legacy.fetch import PRESET_URLS, fetch, is_remote
from .legacy.reader import read_pickle
from .tensor_file import DamagedFile, read_tensors, write_tensors

FORMAT = "spinegan-snapshot-1"
STATE_FORMAT = "spinegan-training-state-1"  # a snapshot and all that a run needs to go on: see training_state
READABLE_FORMATS = (FORMAT, STATE_FORMAT)
PARTS = ("G", "D", "G_ema", "augment_pipe")


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot file holds. `generator` is the moving average, the one to use; all networks are in eval mode.

    Official files may lack the other parts: these are None then.
    """

    generator: Generator
    generator_raw: Generator | None
    discriminator: Discriminator | None
    augment_pipe: AugmentPipe | None
    config: TrainingConfig
    kimg: float

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self.config.data.class_names or None

    def modules(self) -> dict[str, nn.Module]:
        """By the names in PARTS, those that the file has."""
        found = (self.generator_raw, self.discriminator, self.generator, self.augment_pipe)
        return {part: module for part, module in zip(PARTS, found, strict=True) if module is not None}


def make_generator(config: TrainingConfig) -> Generator:
    """A fresh generator for the run's data."""
    data, network = config.data, config.network
    synthesis = {
        "channel_base": network.channel_base,
        "channel_max": network.channel_max,
        "num_fp16_res": network.num_fp16_res,
        "conv_clamp": network.conv_clamp,
        "architecture": network.g_architecture,
    }
    return Generator(
        network.z_dim, data.num_classes, network.w_dim, data.resolution_px, data.num_channels,
        mapping_kwargs={"num_layers": network.mapping_layers}, synthesis_kwargs=synthesis,
    )  # fmt: skip


def make_discriminator(config: TrainingConfig) -> Discriminator:
    """A fresh discriminator for the run's data."""
    data, network = config.data, config.network
    return Discriminator(
        data.num_classes, data.resolution_px, data.num_channels, architecture=network.d_architecture,
        channel_base=network.channel_base, channel_max=network.channel_max, num_fp16_res=network.num_fp16_res,
        conv_clamp=network.conv_clamp, block_kwargs={"freeze_layers": network.freeze_layers},
        epilogue_kwargs={"mbstd_group_size": network.mbstd_group_size},
    )  # fmt: skip


def save_snapshot(path: str | os.PathLike, modules: dict[str, nn.Module], config: TrainingConfig, kimg: float) -> None:
    """Writes those of the modules named in PARTS that there are, atomically."""
    write_snapshot(path, copies(modules), config, kimg)


def copies(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Of the modules named in PARTS, in the CPU's memory and nobody else's: training goes on changing them.

    Their layout stays as it is, since changing it takes several times as long as the copy.
    """
    return {
        f"{part}/{name}": tensor.detach().to("cpu", copy=True)
        for part in PARTS
        if part in modules
        for name, tensor in modules[part].state_dict().items()
    }


def of_part(part: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of one part, by their names in it."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def write_snapshot(
    path: str | os.PathLike, tensors: dict[str, torch.Tensor], config: TrainingConfig, kimg: float
) -> None:
    """Writes what `copies` made. Whoever gets the file learns the names of other files, but not where they lie."""
    write_tensors(path, tensors, {"format": FORMAT, "kimg": kimg, "config": without_folders(config).to_dict()})


def without_folders(config: TrainingConfig) -> TrainingConfig:
    """The settings with file names in the place of paths, which tell of people and machines."""
    source = config.resume if config.resume is None or "://" in config.resume else Path(config.resume).name
    data = dataclasses.replace(config.data, path=Path(config.data.path).name)
    return dataclasses.replace(config, data=data, resume=source)


def load(path: str | os.PathLike, device: torch.device | str = "cpu") -> Snapshot:
    """Reads a network: our snapshot or an official one (.pkl), a path, a URL or an official name such as ffhq256.

    Nothing in the file is executed.

    Raises:
        UserError: the file is missing, damaged, of another architecture or program, or cannot be fetched.
    """
    config, kimg, tensors = read_snapshot(path)
    _check_claimed_size(config, tensors, path)
    make = {
        "G": lambda: make_generator(config),
        "D": lambda: make_discriminator(config),
        "G_ema": lambda: make_generator(config),
        "augment_pipe": lambda: make_augment_pipe(config.augment.pipe),
    }
    present = {name.split("/")[0] for name in tensors} | {"G_ema"}
    modules = {part: make[part]() for part in PARTS if part in present}
    for part, module in modules.items():
        _fill(module, part, tensors, path)
        module.eval().requires_grad_(False).to(device)
    return Snapshot(
        modules["G_ema"], modules.get("G"), modules.get("D"), modules.get("augment_pipe"), config, kimg
    )  # fmt: skip


def read_snapshot(path: str | os.PathLike) -> tuple[TrainingConfig, float, dict[str, torch.Tensor]]:
    """The config, kimg and tensors (`part/name`) of what `load` reads, checked but not built into networks."""
    path = fetch(str(path)) if is_remote(path) else Path(path)
    _check_readable(path)
    if path.suffix.lower() in (".pkl", ".pickle"):
        return read_pickle(path)
    try:
        header, tensors = read_tensors(path)
        if header.get("format") not in READABLE_FORMATS:
            raise UserError(f"{path} is not a snapshot of this project: give a network-snapshot-*.safetensors")
        if not 0 <= (kimg := float(header["kimg"])) < math.inf:
            raise ValueError(f"kimg is {kimg}")
        return _read_config(header, path), kimg, {
            name: tensor for name, tensor in tensors.items() if name.split("/")[0] in PARTS
        }
    except DamagedFile as error:
        raise UserError(f"{error}; take another snapshot of the run") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged or no snapshot: {error}; take another snapshot of the run") from error


def _check_readable(path: Path) -> None:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: give one network-snapshot-*.safetensors in it")
        if not path.is_file():
            raise UserError(
                f"there is no network file {path}: give a network-snapshot-*.safetensors of a training run, "
                f"an official .pkl, a URL or one of {', '.join(PRESET_URLS)}"
            )
        with open(path, "rb"):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _read_config(header: dict, path: Path) -> TrainingConfig:
    try:
        return config_from_dict(header["config"])
    except UserError as error:
        raise UserError(f"{path}: {error}; take a snapshot that this version wrote") from error


def _check_claimed_size(config: TrainingConfig, tensors: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Before networks are built: a header may claim any size, and the memory for it would be taken."""
    data, network = config.data, config.network
    resolutions = resolutions_up_to(data.resolution_px)
    channels = [channels_at(resolution, network.channel_base, network.channel_max) for resolution in resolutions]
    claimed = sum(resolution**2 for resolution in resolutions)  # noise
    claimed += sum(9 * count**2 for count in channels)  # the 3x3 convolutions that keep the number of feature maps
    claimed += network.z_dim * network.w_dim + (network.mapping_layers - 1) * network.w_dim**2
    claimed += data.num_classes * (network.w_dim + channels[0])  # labels, in G and in D
    if claimed > sum(tensor.numel() for tensor in tensors.values()):
        raise UserError(f"{path} is damaged: its settings are those of a larger network; take another snapshot")


def _fill(module: nn.Module, part: str, tensors: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    state = of_part(part, tensors)
    expected = module.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        here, there = (tuple(found[name].shape) if name in found else "missing" for found in (expected, state))
        if here != there:
            message = f"tensor {name} of {part} is {there} there, {here} by its own settings"
            raise UserError(f"{path} is damaged: {message}; take another snapshot of the run")
    module.load_state_dict(state)
