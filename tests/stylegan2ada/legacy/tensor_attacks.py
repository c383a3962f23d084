"""Tensors of hostile pickles: storages and views with a lie in them."""

import io
import pickle
import struct
import tarfile
from pathlib import Path

import torch

from stylegan2ada.legacy.emitter import Call, Name, PersistentId, write_pickle
from stylegan2ada.legacy.tensors import MAGIC_NUMBER, PROTOCOL_VERSION

from .files import as_pickle

HUGE = 2**62
FLOAT = Name("torch", "FloatStorage")
OFFICIAL = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
FROM_BYTES = Name("torch.storage", "_load_from_bytes")
DICT = Call(Name("collections", "OrderedDict"), ())


def storage(
    count: int = 4, data: bytes = bytes(16), stored: int | None = None, kind: Name = FLOAT,
    facts: object = None, magic: int = MAGIC_NUMBER, rest: tuple = (None,), key: object = "0",
) -> bytes:  # fmt: skip
    """torch's format, with a lie in it."""
    file = io.BytesIO()
    facts = {"little_endian": True} if facts is None else facts
    for value in (magic, PROTOCOL_VERSION, facts, PersistentId(("storage", kind, key, "cpu", count, *rest)), [key]):
        write_pickle(file, value)
    return file.getvalue() + struct.pack("<Q", count if stored is None else stored) + data


def tensor(data: bytes, count: int) -> Call:
    """All elements of a storage in torch's format."""
    return Call(REBUILD, (Call(FROM_BYTES, (data,)), 0, (count,), (1,), False, DICT))


GOOD = Call(FROM_BYTES, (storage(),))
TENSOR = tensor(storage(), 4)


class Touch:
    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return open, (str(self._path), "w")


def storages(canary: Path) -> dict[str, bytes]:
    zipped, tar = io.BytesIO(), io.BytesIO()
    torch.save({"x": torch.zeros(2)}, zipped)
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Touch(canary))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    evil = Call(Name("os", "system"), (f"touch {canary}",))
    return {
        "empty": b"",
        "no torch format": b"\x80\x04}.",
        "a pickle with code": pickle.dumps(Touch(canary)),
        "code after the magic number": as_pickle(MAGIC_NUMBER) + pickle.dumps(Touch(canary)),
        "code as facts of the machine": storage(facts=evil),
        "code as a key": storage(key=evil),
        "code in the id": storage(rest=(evil,)),
        "a nested storage": storage(key=Call(FROM_BYTES, (storage(),))),
        "torch's zip format": zipped.getvalue(),
        "torch's tar format": tar.getvalue(),
        "another magic number": storage(magic=1),
        "big-endian": storage(facts={"little_endian": False}),
        "facts that are none": storage(facts=[1]),
        "of code": storage(kind=Name("os", "system")),
        "of objects": storage(kind=Name("torch", "QInt8Storage")),
        "of float64": storage(count=2, kind=Name("torch", "DoubleStorage")),
        "claims 2^62 elements": storage(count=HUGE),
        "claims 2^62 elements twice": storage(count=HUGE, stored=HUGE),
        "claims -1 elements": storage(count=-1, stored=2**64 - 1),
        "claims none": storage(count=0, data=b""),
        "too few bytes": storage(count=5),
        "too many bytes": storage(count=3),
        "cut off": storage()[:-20],
        "a view of a view": storage(rest=(("1", 0, 4),)),
        "a laugh": as_pickle(0)[:-1] + b"\x30" * 2000 + pickle.STOP,
        "a flood": pickle.PROTO + b"\x02" + b"]" * 100_000 + pickle.STOP,
    }  # fmt: skip


def views() -> dict[str, tuple]:
    def view(offset: object = 0, size: object = (4,), stride: object = (1,), store: object = GOOD, more: tuple = ()):
        return (store, offset, size, stride, False, DICT, *more)

    return {
        "negative stride": view(offset=3, stride=(-1,)),
        "negative offset": view(offset=-4),
        "negative size": view(size=(-4,)),
        "offset outside": view(offset=1),
        "stride outside": view(size=(2,), stride=(4,)),
        "size outside": view(size=(5,)),
        "a huge size": view(size=(HUGE,)),
        "a huge size of stride 0": view(size=(HUGE,), stride=(0,)),
        "more elements than stored, stride 0": view(size=(4, 4), stride=(0, 1)),
        "a huge stride of size 1": view(size=(1,), stride=(2**200,)),
        "a huge product": view(size=(2**31, 2**31, 2**31), stride=(0, 0, 0)),
        "size 0": view(size=(0,)),
        "size 0 times huge": view(size=(0, HUGE), stride=(1, 1)),
        "overflow": view(size=(2, 2), stride=(2**63, 2**63)),
        "nine dimensions": view(size=(1,) * 9, stride=(1,) * 9),
        "more strides than sizes": view(stride=(1, 1)),
        "a size that is a list": view(size=[4]),
        "a size of floats": view(size=(4.0,)),
        "a size of bools": view(size=(True,)),
        "a size of texts": view(size=("4",)),
        "no storage": view(store=None),
        "a storage that is a tensor": view(store=Call(REBUILD, view())),
        "a storage type": view(store=Name("torch", "FloatStorage")),
        "metadata": view(more=({"conj": True},)),
        "metadata that is a tensor": view(more=(Call(REBUILD, view()),)),
        "too few arguments": (GOOD, 0, (4,)),
        "too many arguments": view(more=({}, {}, {})),
    }
