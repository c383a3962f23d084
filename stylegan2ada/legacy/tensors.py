"""Tensors of official snapshots: torch's format of a storage inside a pickle, and views on it, checked before use.

torch's own reader of these bytes unpickles, or (weights_only) allocates what the bytes claim and then reads. The format
is small: five pickles (a magic number, the protocol, facts of the machine, the storage as a persistent id, its key),
the number of elements as a 64-bit integer, and the elements.
"""

import io
import math

import torch

from stylegan2ada.errors import UserError

from .machine import Function, quoted, run

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
MAX_DIMENSIONS = 8
# float64 would be rounded and integers are in no network
STORAGE_TYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16}


def load_storage(arguments: tuple) -> torch.Tensor:
    """`torch.storage._load_from_bytes(bytes)`: the elements as a tensor of one dimension."""
    (data,) = arguments
    if type(data) is not bytes:
        raise TypeError(f"the elements of a tensor are a {type(data).__name__}")
    stream = io.BytesIO(data)
    if run(stream, _storage_type) != MAGIC_NUMBER or run(stream, _storage_type) != PROTOCOL_VERSION:
        raise UserError("holds a tensor in another format than torch's for pickles")
    machine_facts = run(stream, _storage_type)
    if type(machine_facts) is not dict or machine_facts.get("little_endian") is not True:
        raise UserError("holds tensors of a big-endian machine; convert the file on that machine")
    dtype, count = run(stream, _storage_type, _read_persistent_id)
    run(stream, _storage_type)  # the storage's key again
    start = stream.tell() + 8
    stored = int.from_bytes(stream.read(8), "little")
    if stored != count or count < 1 or len(data) - start != count * dtype.itemsize:
        raise UserError(f"is damaged: a tensor of {len(data) - start} bytes claims {count} elements of {dtype}")
    return torch.frombuffer(bytearray(memoryview(data)[start:]), dtype=dtype)


def rebuild_tensor(arguments: tuple) -> torch.Tensor:
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`: a view."""
    storage, offset, size, stride, _, _, *metadata = arguments
    if not isinstance(storage, torch.Tensor) or type(size) is not tuple or type(stride) is not tuple:
        raise TypeError("a tensor is described by something else than storage, size and stride")
    if not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise UserError("is damaged: size, stride or offset of a tensor is no number from 0 on")
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS or any(metadata):
        raise UserError("is damaged: a tensor's size and stride do not belong together")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 in size or last >= len(storage) or math.prod(size) > len(storage):
        raise UserError("is damaged: a tensor is larger than its stored elements")
    return torch.as_strided(storage, size, stride, offset)


def rebuild_parameter(arguments: tuple) -> torch.Tensor:
    """`torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`: the tensor."""
    tensor, _, _ = arguments
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"a parameter is a {type(tensor).__name__}")
    return tensor


def _storage_type(module: str, name: str) -> Function:
    if module != "torch" or name not in STORAGE_TYPES:
        known = ", ".join(STORAGE_TYPES)
        raise UserError(f"holds a tensor made of {quoted(module)}.{quoted(name)}: it may be of {known}")
    return Function(name, _no_call)


def _no_call(_: tuple) -> None:
    raise UserError("is no official snapshot: it calls a storage type")


def _read_persistent_id(value: object) -> tuple[torch.dtype, int]:
    """('storage', type, key, device, number of elements[, None]); the device does not matter here."""
    if type(value) is not tuple or len(value) not in (5, 6) or any(part is not None for part in value[5:]):
        raise TypeError("a storage is described otherwise")
    what, kind, _, _, count = value[:5]
    if what != "storage" or type(kind) is not Function or type(count) is not int:
        raise TypeError("a storage is described otherwise")
    return STORAGE_TYPES[kind.name], count
