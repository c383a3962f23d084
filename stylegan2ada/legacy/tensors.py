"""Tensors of official snapshots: torch's format of a storage inside a pickle, and views on it, checked before use.

torch's own reader of these bytes unpickles, or (weights_only) allocates what the bytes claim and then reads. The format
is small: five pickles (a magic number, the protocol, facts of the machine, the storage as a persistent id, its key),
the number of elements as a 64-bit integer, and the elements.
"""

import io
import math
from typing import NamedTuple

import torch

from stylegan2ada.errors import UserError

from .machine import Function, quoted, run

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
MAX_DIMENSIONS = 8
MAX_INSTRUCTIONS = 100  # in each of the five pickles
# float64 would be rounded and integers are in no network
STORAGE_TYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16}


class Storage(NamedTuple):
    """The elements that tensors are views of, as a tensor of one dimension."""

    elements: torch.Tensor


class StorageLoader:
    """`torch.storage._load_from_bytes(bytes)` for one file of `size_bytes`, each byte of which is decoded once."""

    def __init__(self, size_bytes: int):
        self._left_bytes = size_bytes

    def __call__(self, arguments: tuple) -> Storage:
        (data,) = arguments
        if type(data) is not bytes:
            raise TypeError(f"the elements of a tensor are a {type(data).__name__}")
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise UserError("is damaged: its tensors have more bytes than the file")
        return _load_storage(data)


def _load_storage(data: bytes) -> Storage:
    stream = io.BytesIO(data)
    if _run(stream) != MAGIC_NUMBER or _run(stream) != PROTOCOL_VERSION:
        raise UserError("holds a tensor in another format than torch's for pickles")
    machine_facts = _run(stream)
    if type(machine_facts) is not dict or machine_facts.get("little_endian") is not True:
        raise UserError("holds tensors that are not of a little-endian machine: convert the file where it was made")
    claim = run(stream, _storage_type, _read_persistent_id, MAX_INSTRUCTIONS)
    _run(stream)  # the storage's key again
    stored = int.from_bytes(stream.read(8), "little")
    size_bytes = len(data) - stream.tell()
    if type(claim) is not _Claim or claim.count != stored or stored * claim.dtype.itemsize != size_bytes or not stored:
        raise UserError(f"is damaged: a tensor's {size_bytes} bytes are not those of the elements it claims to have")
    return Storage(torch.frombuffer(bytearray(memoryview(data)[-size_bytes:]), dtype=claim.dtype))


def rebuild_tensor(arguments: tuple) -> torch.Tensor:
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`: a view."""
    storage, offset, size, stride, _, _, *metadata = arguments
    if len(metadata) > 1 or any(type(part) is not dict or part for part in metadata):
        raise TypeError("a tensor has other metadata than none")
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
        raise TypeError("a tensor is described by something else than storage, size and stride")
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise UserError("is damaged: a tensor's size and stride do not belong together")
    count = len(storage.elements)
    if not all(type(number) is int and 0 <= number <= count for number in (offset, *size, *stride)) or 0 in size:
        raise UserError("is damaged: size, stride or offset of a tensor are not within its elements")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= count or math.prod(size) > count:
        raise UserError("is damaged: a tensor is larger than its stored elements")
    return torch.as_strided(storage.elements, size, stride, offset)


def rebuild_parameter(arguments: tuple) -> torch.Tensor:
    """`torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`: the tensor."""
    tensor, _, _ = arguments
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"a parameter is a {type(tensor).__name__}")
    return tensor


class _Claim(NamedTuple):
    dtype: torch.dtype
    count: int


def _run(stream: io.BytesIO) -> object:
    return run(stream, _storage_type, max_instructions=MAX_INSTRUCTIONS)


def _storage_type(module: str, name: str) -> Function:
    if module != "torch" or name not in STORAGE_TYPES:
        known = ", ".join(STORAGE_TYPES)
        raise UserError(f"holds a tensor made of {quoted(module)}.{quoted(name)}: it may be of {known}")
    return Function(name, _no_call)


def _no_call(_: tuple) -> None:
    raise UserError("is no official snapshot: it calls a storage type")


def _read_persistent_id(value: object) -> _Claim:
    """('storage', type, key, device, number of elements[, None]); the device does not matter here."""
    if type(value) is not tuple or len(value) not in (5, 6) or any(part is not None for part in value[5:]):
        raise TypeError("a storage is described otherwise")
    what, kind, _, _, count = value[:5]
    if what != "storage" or type(kind) is not Function or type(count) is not int:
        raise TypeError("a storage is described otherwise")
    return _Claim(STORAGE_TYPES[kind.name], count)
