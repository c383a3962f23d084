"""Our snapshot -> an official snapshot file, for the official code and what is built on it.

An official pickle carries the source code of its networks. Ours carries a few lines that build the reader's own class
and fill it: what the reader has then is a network of his program and nothing of ours. All tensors of a network stand in
one table by their full names.
"""

import io
import json
import os

import torch
from torch import nn

from stylegan2ada.augment import AUGMENT_PIPES
from stylegan2ada.checkpoint import Snapshot, without_folders
from stylegan2ada.files import atomic_path

from .arguments import discriminator_arguments, generator_arguments
from .emitter import Call, Name, PersistentId, write_pickle
from .reader import OWN_KEY
from .tensors import MAGIC_NUMBER, PROTOCOL_VERSION

PERSISTENCE_VERSION = 6
MODULE_SOURCE = '''\
"""Written by SpineGAN: the network is the reader's own {module}.{name}, filled with the tensors of this file."""

from {module} import {name} as Own


class {name}:
    def __setstate__(self, state):
        network = Own(*state["_init_args"], **state["_init_kwargs"])
        network.load_state_dict({{**state["_parameters"], **state["_buffers"]}})
        network.train(state["training"]).requires_grad_(False)
        self.__class__ = type(network)
        self.__dict__.update(network.__dict__)
'''


def save_official(path: str | os.PathLike, snapshot: Snapshot) -> None:
    """Writes `snapshot` to a `.pkl` that official StyleGAN2-ADA code loads, atomically.

    Equal snapshots make equal files. Settings that official files have no place for stand under a key of their own,
    which official code ignores.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        write_pickle(file, contents(snapshot))


def contents(snapshot: Snapshot) -> dict[str, object]:
    """What the file holds, for `write_pickle`."""
    config = without_folders(snapshot.config)
    generator, pipe = generator_arguments(config), AUGMENT_PIPES[config.augment.pipe]
    return {
        "G": _network(snapshot.generator_raw, "training.networks", "Generator", generator),
        "D": _network(snapshot.discriminator, "training.networks", "Discriminator", discriminator_arguments(config)),
        "G_ema": _network(snapshot.generator, "training.networks", "Generator", generator),
        "augment_pipe": _network(snapshot.augment_pipe, "training.augment", "AugmentPipe", pipe),
        "training_set_kwargs": {
            "class_name": "training.dataset.ImageFolderDataset",
            "path": config.data.path,
            "use_labels": config.data.num_classes > 0,
            "max_size": config.data.num_images,
            "xflip": config.data.mirror,
            "resolution": config.data.resolution_px,
        },
        OWN_KEY: json.dumps({"config": config.to_dict(), "kimg": snapshot.kimg}),
    }


def _network(module: nn.Module | None, module_name: str, class_name: str, arguments: dict) -> Call | None:
    """What makes the network in the reader's program; None for a part that the snapshot does not have."""
    if module is None:
        return None
    parameters = dict(module.named_parameters())
    buffers = {name: tensor for name, tensor in module.state_dict().items() if name not in parameters}
    state = {
        "training": False,
        "_parameters": {name: tensor_call(parameter) for name, parameter in parameters.items()},
        "_buffers": {name: tensor_call(buffer) for name, buffer in buffers.items()},
        "_modules": {},
        "_init_args": (),
        "_init_kwargs": arguments,
    }
    meta = {
        "type": "class",
        "version": PERSISTENCE_VERSION,
        "module_src": MODULE_SOURCE.format(module=module_name, name=class_name),
        "class_name": class_name,
        "state": state,
    }
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def tensor_call(tensor: torch.Tensor) -> Call:
    """What makes the tensor, in float32, in the reader's program."""
    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    storage = Call(Name("torch.storage", "_load_from_bytes"), (_storage(tensor),))
    hooks = Call(Name("collections", "OrderedDict"), ())
    arguments = (storage, 0, tuple(tensor.shape), tuple(tensor.stride()), False, hooks)
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)


def _storage(tensor: torch.Tensor) -> bytes:
    """The elements in torch's format of a storage inside a pickle (`tensors`)."""
    file = io.BytesIO()
    sizes = {"short": 2, "int": 4, "long": 4}
    facts = {"protocol_version": PROTOCOL_VERSION, "little_endian": True, "type_sizes": sizes}
    storage = PersistentId(("storage", Name("torch", "FloatStorage"), "0", "cpu", tensor.numel(), None))
    for value in (MAGIC_NUMBER, PROTOCOL_VERSION, facts, storage, ["0"]):
        write_pickle(file, value)
    file.write(tensor.numel().to_bytes(8, "little"))
    file.write(tensor.numpy().astype("<f4", copy=False).tobytes())
    return file.getvalue()
