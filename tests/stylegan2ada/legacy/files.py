"""What the tests of official snapshots share: small networks of ours, and files with something changed in them."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.checkpoint import Snapshot, make_discriminator, make_generator
from stylegan2ada.config import AugmentConfig, DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.legacy.emitter import Call, Name, write_pickle
from stylegan2ada.legacy.writer import contents, tensor_call

TINY = {"channel_base": 32, "channel_max": 4, "z_dim": 4, "w_dim": 4, "mapping_layers": 1}
COND = TrainingConfig(
    DataConfig("set.zip", 8, 1, 100, 2, ("normal", "abnormal"), mirror=True),
    NetworkConfig(**TINY, conv_clamp=256, freeze_layers=1),
    augment=AugmentConfig("ada", "bgcfnc"),
)
UNCOND = TrainingConfig(DataConfig("set.zip", 16, 3, 100), NetworkConfig(**TINY, num_fp16_res=4, d_architecture="orig"))


def snapshot(config: TrainingConfig = COND, seed: int = 0) -> Snapshot:
    """All four parts, each with numbers of its own."""
    torch.manual_seed(seed)
    G, D, G_ema = make_generator(config), make_discriminator(config), make_generator(config)
    pipe = make_augment_pipe(config.augment.pipe)
    G_ema.mapping.w_avg.normal_()
    pipe.p.fill_(0.37)
    for module in (G, D, G_ema, pipe):
        module.eval().requires_grad_(False)
    return Snapshot(G_ema, G, D, pipe, config, kimg=200.5)


def as_pickle(value: object) -> bytes:
    file = io.BytesIO()
    write_pickle(file, value)
    return file.getvalue()


def fragment(value: object) -> bytes:
    """The instructions that put `value` on the stack."""
    return as_pickle(value)[2:-1]


def meta(content: dict, part: str = "G_ema") -> dict:
    """The network's class, constructor arguments and state, to change in place."""
    network = content[part]
    assert isinstance(network, Call)
    return network.arguments[0]


def nested_state(module: nn.Module) -> dict[str, object]:
    """The state of a module as the official code has it: its modules are persistent objects too."""
    kind = Call(Name("numpy", "dtype"), ("f8", False, True))
    return {
        "training": False,
        "_parameters": {name: tensor_call(value) for name, value in module.named_parameters(recurse=False)},
        "_buffers": {name: tensor_call(value) for name, value in module.named_buffers(recurse=False)},
        "_non_persistent_buffers_set": Call(Name("builtins", "set"), ([],)),
        "_backward_hooks": Call(Name("collections", "OrderedDict"), ()),
        "_modules": {name: persistent("Layer", nested_state(child)) for name, child in module.named_children()},
        "act_gain": Call(Name("numpy.core.multiarray", "scalar"), (kind, struct.pack("<d", 2**0.5))),
        "resample_filter_taps": [1, 3, 3, 1],
    }


def persistent(class_name: str, state: dict) -> Call:
    """An object of the official code's persistent classes."""
    content = {"type": "class", "version": 6, "module_src": "", "class_name": class_name, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (content,))


def write_changed(path: Path, change: Callable[[dict], None], config: TrainingConfig = COND) -> Path:
    """An official snapshot in which `change` did what it does to the content."""
    content = contents(snapshot(config))
    change(content)
    path.write_bytes(as_pickle(content))
    return path
