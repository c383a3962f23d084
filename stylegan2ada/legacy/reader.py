"""An official snapshot file -> our settings and tensors."""

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch

from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig, config_from_dict
from stylegan2ada.errors import UserError
from stylegan2ada.generator import resolutions_up_to

from .arguments import read_augment_pipe, read_discriminator, read_generator
from .machine import quoted, run
from .vocabulary import PersistentObject, vocabulary_of

CLASSES = {"G_ema": "Generator", "G": "Generator", "D": "Discriminator", "augment_pipe": "AugmentPipe"}
OWN_KEY = "spinegan"  # where `writer` keeps the settings that official snapshots have no place for
# Scripts print "This network was trained on: {note}."
NOTE = "unknown data: an official snapshot tells the networks' settings, but not those of their training"
OTHER_PIPE_NOTE = "images augmented in a way that is none of ours: the augmentation pipe was left out"
GENERATOR_POSITIONS = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
DISCRIMINATOR_POSITIONS = ("c_dim", "img_resolution", "img_channels")
MAX_SETTINGS_LENGTH = 1_000_000
MAX_FILE_BYTES = 4 << 30  # official ones have up to 0.4 GB
MAX_DEPTH, MAX_NAMES = 8, 10_000  # in one network; official ones have 5 levels, and 500 modules, parameters and buffers

Tensors = dict[str, torch.Tensor]


def read_pickle(path: Path) -> tuple[TrainingConfig, float, Tensors]:
    """The config, kimg and tensors (`part/name`) of an official snapshot; nothing in the file is executed.

    Parts that the file does not hold have no tensors. kimg is 0 where the file does not tell it, and so are settings
    of the training that made it at their defaults.

    Raises:
        UserError: the file is missing, damaged, of another architecture, or holds anything foreign.
    """
    if not path.is_file():
        raise UserError(f"there is no network file {path}: give an official .pkl or a network-snapshot-*.safetensors")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise UserError(f"{path} has {size / 1e9:.1f} GB, more than any official snapshot")
    try:
        return _interpret(run(io.BytesIO(path.read_bytes()), vocabulary_of(size)), size)
    except UserError as error:
        raise UserError(f"{path} {error}") from error


def _interpret(content: object, size_bytes: int) -> tuple[TrainingConfig, float, Tensors]:
    parts = _parts(content)
    tensors = _tensors(parts, size_bytes)
    config = _config(parts, content.get("training_set_kwargs"))
    if "augment_pipe" in parts and config.augment.mode == "noaug":  # none of ours
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("augment_pipe/")}
    own, kimg = _own_settings(content.get(OWN_KEY))
    if own is not None and (own.data.num_classes, own.network) == (config.data.num_classes, config.network):
        return own, kimg, tensors
    return config, 0.0, tensors


def _parts(content: object) -> dict[str, PersistentObject]:
    if type(content) is not dict or not content.keys() & CLASSES.keys():
        raise UserError(f"is no official snapshot: it holds {quoted(content)} without the networks G, D and G_ema")
    parts = {part: content[part] for part in CLASSES if content.get(part) is not None}
    if "G_ema" not in parts:
        raise UserError("holds no G_ema, the moving average of the generator, which is the network to use")
    for part, found in parts.items():
        if type(found) is not PersistentObject or found.class_name != CLASSES[part]:
            kind = found.class_name if type(found) is PersistentObject else found
            raise UserError(f"has an architecture that is not supported: {part} is {quoted(kind)}")
    return parts


def _tensors(parts: dict[str, PersistentObject], size_bytes: int) -> Tensors:
    """float32, by `part/name`."""
    tensors: Tensors = {}
    num_elements = 0
    for part, network in parts.items():
        for name, tensor in _tensors_of(part, network):
            num_elements += tensor.numel()
            if num_elements > size_bytes:  # they share elements: a small file that unfolds
                raise UserError("is damaged: it has fewer bytes than its tensors have elements")
            tensors[f"{part}/{name}"] = tensor.float()
    return tensors


def _tensors_of(part: str, network: PersistentObject) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of every parameter and buffer, as the network's state_dict would name them."""
    waiting, num_names = [("", network, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        if type(module) is not PersistentObject:
            raise UserError(f"is damaged: {part}.{quoted(prefix)} is {quoted(module)}, not a module")
        tables = [_dict(module, key) for key in ("_parameters", "_buffers", "_modules")]
        num_names += 1 + sum(map(len, tables))  # counted before they are looked at: the same one may come many times
        if depth > MAX_DEPTH or num_names > MAX_NAMES:
            raise UserError(f"is no official snapshot: {part} has too many or too deeply nested modules")
        parameters, buffers, children = tables
        for name, tensor in (parameters | buffers).items():
            if tensor is None:
                continue
            if not isinstance(tensor, torch.Tensor):
                raise UserError(f"is damaged: {part}.{quoted(prefix + name)} is no tensor")
            yield prefix + name, tensor
        waiting += [(f"{prefix}{name}.", child, depth + 1) for name, child in children.items() if child is not None]


def _dict(module: PersistentObject, key: str) -> dict:
    found = module.state.get(key, {})
    if type(found) is not dict:
        raise UserError(f"is damaged: {key} of {quoted(module.class_name)} is {quoted(found)}")
    return found


def _arguments(part: str, network: PersistentObject, positions: tuple[str, ...]) -> dict[str, object]:
    given, named = network.state.get("_init_args", ()), network.state.get("_init_kwargs", {})
    if type(given) is not tuple or type(named) is not dict or len(given) > len(positions):
        raise UserError(f"is no official snapshot: the arguments that {part} was made with are missing")
    return dict(zip(positions, given, strict=False)) | named


def _config(parts: dict[str, PersistentObject], training_set: object) -> TrainingConfig:
    """The settings that the file tells, which all networks in it must share."""
    generators = [part for part in ("G_ema", "G") if part in parts]
    told = {part: read_generator(part, _arguments(part, parts[part], GENERATOR_POSITIONS)) for part in generators}
    if "D" in parts:
        told["D"] = read_discriminator("D", _arguments("D", parts["D"], DISCRIMINATOR_POSITIONS))
    images, network = told["G_ema"]
    for part, facts in told.items():
        for name, value in (facts[0] | facts[1]).items():
            if (images | network).get(name, value) != value:
                raise UserError(f"has an architecture that is not supported: {name} of {part} is not that of G_ema")
        network = network | facts[1]
    for part in generators:
        _check_blocks(part, parts[part], images["resolution_px"])
    pipe = read_augment_pipe(_arguments("augment_pipe", parts["augment_pipe"], ())) if "augment_pipe" in parts else None
    return TrainingConfig(
        data=_data_config(images, training_set),
        network=NetworkConfig(**network),
        augment=AugmentConfig("noaug") if pipe is None else AugmentConfig("ada", pipe),
        batch_size=max(network.get("mbstd_group_size", 4), 1),
        notes=(NOTE,) if pipe or "augment_pipe" not in parts else (NOTE, OTHER_PIPE_NOTE),
    )


def _check_blocks(part: str, network: PersistentObject, resolution_px: int) -> None:
    """Other architectures under the same class names differ here at the latest."""
    synthesis = _dict(network, "_modules").get("synthesis")
    if synthesis is None:  # a file of ours: its tensors stand in one table
        return
    try:
        expected = {f"b{resolution}" for resolution in resolutions_up_to(resolution_px)}
    except ValueError as error:
        raise UserError(f"has an architecture that is not supported: {error}") from error
    found = _dict(synthesis, "_modules").keys()
    if found != expected:
        other = ", ".join(quoted(name) for name in sorted(found ^ expected)[:3])
        raise UserError(f"has an architecture that is not supported: {part} is made of other blocks ({other})")


def _data_config(images: dict[str, int], training_set: object) -> DataConfig:
    told = training_set if type(training_set) is dict else {}
    path, count, mirror = (told.get(name) for name in ("path", "max_size", "xflip"))
    return DataConfig(
        path=path if type(path) is str else "unknown",
        num_images=count if type(count) is int and count > 0 else 1,
        mirror=mirror is True,
        **images,
    )


def _own_settings(text: object) -> tuple[TrainingConfig | None, float]:
    """What `writer` added, so that converting forth and back loses nothing; (None, 0) where it did not."""
    if text is None:
        return None, 0.0
    try:
        if type(text) is not str or len(text) > MAX_SETTINGS_LENGTH:
            raise ValueError("no text of a usual length")
        stored = json.loads(text)
        if not 0 <= (kimg := float(stored["kimg"])) < math.inf:
            raise ValueError(f"kimg is {kimg}")
        return config_from_dict(stored["config"]), kimg
    except (UserError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"is damaged, or written by another version: its {OWN_KEY} settings, {error}") from error
