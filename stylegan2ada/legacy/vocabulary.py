"""Every global name that official snapshots use, and what it stands for here. All others are refused by name."""

import math
import struct
from dataclasses import dataclass
from typing import NoReturn

from stylegan2ada.errors import UserError

from .machine import Buildable, Function, Vocabulary, quoted
from .tensors import StorageLoader, rebuild_parameter, rebuild_tensor


@dataclass(frozen=True, eq=False)
class PersistentObject:
    """An object that the official code would make by running the source code stored with it; here it is data."""

    class_name: str
    state: dict


class NumpyType(Buildable):
    """`numpy.dtype('f8', False, True)` of a scalar; its state must say little-endian and nothing else."""

    FORMATS = ("f8", "f4", "i8", "i4", "u1", "b1")

    def __init__(self, code: str):
        self.code = code

    def build(self, state: object) -> None:
        if type(state) is not tuple or any(type(part) not in (int, str, type(None)) for part in state):
            raise TypeError("the state of a NumPy type is no tuple of plain values")
        if state not in ((3, order, None, None, None, -1, -1, 0) for order in "<|"):
            raise UserError("holds a NumPy type other than a little-endian number")


def vocabulary_of(size_bytes: int) -> Vocabulary:
    """For one file of `size_bytes`: finds the function of a global name; raises UserError, naming it, for any other."""
    load_storage = Function("torch.storage._load_from_bytes", StorageLoader(size_bytes))
    functions = _FUNCTIONS | {("torch.storage", "_load_from_bytes"): load_storage}

    def lookup(module: str, name: str) -> Function:
        return functions[module, name] if (module, name) in functions else _refuse(module, name)

    return lookup


def _refuse(module: str, name: str) -> NoReturn:
    if module.startswith("dnnlib.tflib"):
        raise UserError(
            "is a StyleGAN pickle of the TensorFlow era: convert it first with legacy.py of the official "
            "stylegan2-ada-pytorch"
        )
    raise UserError(
        f"refers to {quoted(module)}.{quoted(name)}, which official StyleGAN2-ADA snapshots do not: it is of another "
        "architecture or carries foreign code; nothing of it was run"
    )


def _persistent_object(arguments: tuple) -> PersistentObject:
    (meta,) = arguments
    if type(meta) is not dict or type(meta.get("class_name")) is not str or type(meta.get("state")) is not dict:
        raise TypeError("a network is stored without its class or state")
    if type(meta.get("type")) is not str or meta["type"] != "class":
        raise UserError("is no official snapshot: it stores something else than objects of a class")
    return PersistentObject(meta["class_name"], meta["state"])


def _empty_dict(arguments: tuple) -> dict:
    if arguments:
        raise TypeError("a dictionary is made from arguments")
    return {}


def _set(arguments: tuple) -> set:
    (items,) = arguments
    if type(items) is not list or items:
        raise TypeError("a set is not empty")
    return set()


def _numpy_type(arguments: tuple) -> NumpyType:
    code = arguments[0]
    if type(code) is not str or code not in NumpyType.FORMATS:
        raise UserError(f"holds a NumPy value of type {quoted(code)}; known are {', '.join(NumpyType.FORMATS)}")
    return NumpyType(code)


def _numpy_scalar(arguments: tuple) -> int | float | bool:
    kind, data = arguments
    if type(kind) is not NumpyType or type(data) is not bytes:
        raise TypeError("a NumPy number is made from something else than its type and bytes")
    formats = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i", "u1": "<B", "b1": "<?"}
    if len(data) != struct.calcsize(formats[kind.code]):
        raise ValueError(f"a NumPy number of type {kind.code} has {len(data)} bytes")
    (value,) = struct.unpack(formats[kind.code], data)
    if not math.isfinite(value):
        raise ValueError("a NumPy number is not finite")
    return value


_CALLS = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("dnnlib.util", "EasyDict"): _empty_dict,
    ("collections", "OrderedDict"): _empty_dict,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("numpy", "dtype"): _numpy_type,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}
_FUNCTIONS = {key: Function(".".join(key), call) for key, call in _CALLS.items()}
