"""Writes pickles of values that name functions of programs which are not here.

Python's own pickler wants to import what it names. Instructions as in `machine`; protocol 4 (Python 3.4 and later).
"""

import pickle
import struct
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple


class Name(NamedTuple):
    """A global name of the reader's program."""

    module: str
    name: str


class Call(NamedTuple):
    """What the reader's function `name` returns for `arguments`."""

    name: Name
    arguments: tuple


class PersistentId(NamedTuple):
    """An object that the reader's `persistent_load` finds."""

    value: object


def write_pickle(file: BinaryIO, value: object) -> None:
    """Writes one pickle of None, bool, int, float, str, bytes, tuple, list and dict, nested, with the above."""
    file.write(pickle.PROTO + b"\x04")
    _write(file, value)
    file.write(pickle.STOP)


def _write(file: BinaryIO, value: object) -> None:
    if value is None or isinstance(value, bool):
        file.write({None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value])
    elif isinstance(value, int):
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        file.write(pickle.LONG1 + bytes([len(data)]) + data)
    elif isinstance(value, float):
        file.write(pickle.BINFLOAT + struct.pack(">d", value))
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        file.write(pickle.BINUNICODE + struct.pack("<I", len(data)) + data)
    elif isinstance(value, bytes):
        file.write(pickle.BINBYTES8 + struct.pack("<Q", len(value)))
        file.write(value)
    elif isinstance(value, Name):
        _write(file, value.module)
        _write(file, value.name)
        file.write(pickle.STACK_GLOBAL)
    elif isinstance(value, Call):
        _write(file, value.name)
        _write(file, value.arguments)
        file.write(pickle.REDUCE)
    elif isinstance(value, PersistentId):
        _write(file, value.value)
        file.write(pickle.BINPERSID)
    elif isinstance(value, tuple):
        _write_marked(file, pickle.MARK, value, pickle.TUPLE)
    elif isinstance(value, list):
        _write_marked(file, pickle.EMPTY_LIST + pickle.MARK, value, pickle.APPENDS)
    elif isinstance(value, dict):
        items = (part for item in value.items() for part in item)
        _write_marked(file, pickle.EMPTY_DICT + pickle.MARK, items, pickle.SETITEMS)
    else:
        raise TypeError(f"a {type(value).__name__} cannot be written")


def _write_marked(file: BinaryIO, start: bytes, values: Iterable[object], end: bytes) -> None:
    file.write(start)
    for value in values:
        _write(file, value)
    file.write(end)
