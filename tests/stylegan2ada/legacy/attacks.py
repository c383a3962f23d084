"""Hostile pickles, by name. Those that run code when they are unpickled would make the file they are given."""

import pickle
import struct
from pathlib import Path

from stylegan2ada.legacy.emitter import Call, Name, PersistentId

from .files import fragment
from .tensor_attacks import DICT, FROM_BYTES, HUGE, OFFICIAL, REBUILD, TENSOR, Touch, storages, views

STOP = pickle.STOP
NETWORK = Call(OFFICIAL, ({"type": "class", "class_name": "Generator", "state": {}},))


def names(canary: Path) -> dict[str, object]:
    """Values that call what they should not."""
    touch, python = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    found: dict[str, tuple[str, str, tuple]] = {
        "os.system": ("os", "system", (touch,)),
        "posix.system": ("posix", "system", (touch,)),
        "nt.system": ("nt", "system", (touch,)),
        "subprocess.Popen": ("subprocess", "Popen", (["touch", str(canary)],)),
        "subprocess.check_output": ("subprocess", "check_output", (["touch", str(canary)],)),
        "pty.spawn": ("pty", "spawn", (["touch", str(canary)],)),
        "eval": ("builtins", "eval", (python,)),
        "exec": ("builtins", "exec", (python,)),
        "compile": ("builtins", "compile", (python, "x", "exec")),
        "open": ("builtins", "open", (str(canary), "w")),
        "Python 2 eval": ("__builtin__", "eval", (python,)),
        "getattr": ("builtins", "getattr", (Name("os", "path"), "system")),
        "__import__": ("builtins", "__import__", ("os",)),
        "globals": ("builtins", "globals", ()),
        "builtins.type": ("builtins", "type", ("T", (), {})),
        "bytearray of 2^40": ("builtins", "bytearray", (2**40,)),
        "range": ("builtins", "range", (2**40,)),
        "importlib": ("importlib", "import_module", ("antigravity",)),
        "runpy": ("runpy", "run_path", (str(canary),)),
        "pathlib": ("pathlib", "Path.touch", (Name("pathlib", "Path"),)),
        "shutil.rmtree": ("shutil", "rmtree", (str(canary.parent),)),
        "socket": ("socket", "create_connection", (("127.0.0.1", 9),)),
        "urllib": ("urllib.request", "urlopen", ("http://127.0.0.1:9/",)),
        "webbrowser": ("webbrowser", "open", ("http://127.0.0.1:9/",)),
        "code.interact": ("code", "interact", ()),
        "timeit": ("timeit", "timeit", (python,)),
        "pickle.loads": ("pickle", "loads", (pickle.dumps(1),)),
        "_pickle.loads": ("_pickle", "loads", (pickle.dumps(1),)),
        "marshal.loads": ("marshal", "loads", (b"i\x00\x00\x00\x00",)),
        "types.FunctionType": ("types", "FunctionType", (None, {})),
        "functools.partial": ("functools", "partial", (Name("os", "system"), touch)),
        "functools.reduce": ("functools", "reduce", (Name("os", "system"), [touch])),
        "operator.attrgetter": ("operator", "attrgetter", ("system",)),
        "operator.methodcaller": ("operator", "methodcaller", ("system", touch)),
        "copyreg._reconstructor": ("copyreg", "_reconstructor", (Name("os", "system"), Name("builtins", "object"), 0)),
        "copyreg.__newobj__": ("copyreg", "__newobj__", (Name("subprocess", "Popen"), ["touch", str(canary)])),
        "copyreg.add_extension": ("copyreg", "add_extension", ("os", "system", 1)),
        "_codecs.encode": ("_codecs", "encode", ("x", "latin1")),
        "torch.load": ("torch", "load", (str(canary),)),
        "torch.serialization.load": ("torch.serialization", "load", (str(canary),)),
        "torch.hub.load": ("torch.hub", "load", ("a/b", "c")),
        "torch.jit.load": ("torch.jit", "load", (str(canary),)),
        "torch.ops.load_library": ("torch.ops", "load_library", (str(canary),)),
        "torch.storage.TypedStorage": ("torch.storage", "TypedStorage", ()),
        "torch.FloatStorage": ("torch", "FloatStorage", (2**40,)),
        "torch.nn.Module": ("torch.nn.modules.module", "Module", ()),
        "torch._utils._rebuild_tensor": ("torch._utils", "_rebuild_tensor", ()),
        "torch._utils._rebuild_wrapper_subclass": ("torch._utils", "_rebuild_wrapper_subclass", ()),
        "torch._tensor._rebuild_from_type_v2": ("torch._tensor", "_rebuild_from_type_v2", ()),
        "numpy.load": ("numpy", "load", (str(canary),)),
        "numpy.fromfile": ("numpy", "fromfile", ("/dev/zero",)),
        "numpy.ndarray": ("numpy", "ndarray", ((2**40,),)),
        "numpy._reconstruct": ("numpy.core.multiarray", "_reconstruct", (Name("numpy", "ndarray"), (0,), b"b")),
        "numpy._core _reconstruct": ("numpy._core.multiarray", "_reconstruct", ()),
        "numpy runstring": ("numpy.testing._private.utils", "runstring", (python, {})),
        "dnnlib.util.construct_class_by_name": ("dnnlib.util", "construct_class_by_name", ("os.system",)),
        "dnnlib.util.call_func_by_name": ("dnnlib.util", "call_func_by_name", (touch, "os.system")),
        "dnnlib.util.open_url": ("dnnlib.util", "open_url", ("http://127.0.0.1:9/",)),
        "dnnlib.EasyDict": ("dnnlib", "EasyDict", ()),
        "torch_utils.persistence.persistent_class": ("torch_utils.persistence", "persistent_class", ()),
        "torch_utils.persistence._src_to_module": ("torch_utils.persistence", "_src_to_module", (python,)),
        "TensorFlow era": ("dnnlib.tflib.network", "Network", ()),
        "ours": ("stylegan2ada.checkpoint", "load", (str(canary),)),
        "relative module": (".os", "system", (touch,)),
        "empty names": ("", "", ()),
        "dotted, globals": ("torch._utils", "_rebuild_tensor_v2.__globals__", ()),
        "dotted, getattribute": ("collections", "OrderedDict.__getattribute__", ()),
        "dotted, fromkeys": ("collections", "OrderedDict.fromkeys", ([1],)),
        "dotted, module in name": ("torch", "_utils._rebuild_tensor_v2", ()),
        "dotted, subclasses": ("builtins", "object.__subclasses__", ()),
        "dotted, sys.modules": ("collections", "_sys.modules", ()),
        "dotted, init": ("torch.storage", "_load_from_bytes.__init__", ()),
        "dotted, set": ("builtins", "set.__class__", ()),
        "line break in a name": ("os\nerror", "system\x1b[2J", (touch,)),
        "a name of 1 MB": ("o" * 2**20, "s" * 2**20, ()),
        "a lone surrogate": ("\ud800", "\udfff", ()),
        "a look-alike": ("t\u043erch._utils", "_rebuild_tensor_v2", ()),
    }  # fmt: skip
    return {name: Call(Name(module, attribute), arguments) for name, (module, attribute, arguments) in found.items()}


def misuse(canary: Path) -> dict[str, object]:
    """Names that are allowed, with arguments that are not."""
    evil = Call(Name("os", "system"), (f"touch {canary}",))
    dtype = Call(Name("numpy", "dtype"), ("f8", False, True))
    scalar = Name("numpy.core.multiarray", "scalar")
    return {
        "dtype with objects": Call(Name("numpy", "dtype"), ("O", False, True)),
        "dtype O8": Call(Name("numpy", "dtype"), ("O8", False, True)),
        "dtype of fields": Call(Name("numpy", "dtype"), ([("a", "O")],)),
        "dtype without arguments": Call(Name("numpy", "dtype"), ()),
        "scalar of an object": Call(scalar, (Call(Name("numpy", "dtype"), ("O", False, True)), evil)),
        "scalar of pickled bytes": Call(scalar, (Call(Name("numpy", "dtype"), ("O",)), pickle.dumps(1))),
        "scalar without bytes": Call(scalar, (dtype, 3)),
        "scalar of too few bytes": Call(scalar, (dtype, b"123")),
        "scalar that is not a number": Call(scalar, (dtype, struct.pack("<d", float("nan")))),
        "scalar of a name": Call(scalar, (Name("numpy", "dtype"), b"12345678")),
        "a dictionary with arguments": Call(Name("dnnlib.util", "EasyDict"), ({"a": 1},)),
        "a dictionary from a call": Call(Name("collections", "OrderedDict"), (evil,)),
        "a set of things": Call(Name("builtins", "set"), ([1, 2],)),
        "a persistent function": Call(OFFICIAL, ({"type": "function", "class_name": "G", "state": {}},)),
        "a persistent nothing": Call(OFFICIAL, ({},)),
        "a persistent number": Call(OFFICIAL, (3,)),
        "persistent without arguments": Call(OFFICIAL, ()),
        "persistent with a name as its type": Call(
            OFFICIAL, ({"type": OFFICIAL, "class_name": "G", "state": {}},)
        ),
        "a parameter of nothing": Call(Name("torch._utils", "_rebuild_parameter"), (None, True, DICT)),
        "a parameter of two": Call(Name("torch._utils", "_rebuild_parameter"), (None, True)),
        "hooks that run": Call(Name("torch._utils", "_rebuild_parameter"), (None, True, evil)),
        "a persistent id": PersistentId(("storage", Name("os", "system"), "0", "cpu", 1)),
        **{f"storage: {name}": Call(FROM_BYTES, (data,)) for name, data in storages(canary).items()},
        "storage: a text": Call(FROM_BYTES, ("text",)),
        "storage: none": Call(FROM_BYTES, ()),
        **{f"tensor: {name}": Call(REBUILD, arguments) for name, arguments in views().items()},
    }  # fmt: skip


def streams(canary: Path) -> dict[str, bytes]:
    """Whole files: instructions that official snapshots do not have, and bombs."""
    start, text = pickle.PROTO + b"\x04", fragment(f"touch {canary}")
    system = fragment(Name("os", "system"))
    deep = 100_000
    found = {
        "empty": b"",
        "one byte": b"\x80",
        "only STOP": STOP,
        "no pickle": b"not a pickle at all, rather a text\n",
        "a zip file": b"PK\x03\x04" + bytes(100),
        "HTML": b"<!doctype html><html><body>Not found</body></html>",
        "protocol 0": f"cos\nsystem\n(S'touch {canary}'\ntR.".encode(),
        "protocol 0, posix": f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode(),
        "protocol 2": b"\x80\x02cos\nsystem\n" + text + b"\x85R.",
        **{f"__reduce__, protocol {p}": pickle.dumps(Touch(canary), p) for p in range(6)},
        "INST": f"(S'touch {canary}'\nios\nsystem\n.".encode(),
        "OBJ": b"(cos\nsystem\n" + f"S'touch {canary}'\n".encode() + b"o.",
        "NEWOBJ": start + fragment(Name("subprocess", "Popen")) + text + b"\x85\x81.",
        "NEWOBJ_EX": start + system + text + b"\x85}\x92.",
        "EXT1": start + b"\x82\x01.",
        "EXT2": start + b"\x83\x01\x00.",
        "EXT4": start + b"\x84\x01\x00\x00\x00.",
        "PERSID": start + b"Pos.system\n.",
        "BINPERSID": start + text + b"Q.",
        "BYTEARRAY8": start + b"\x96" + struct.pack("<Q", HUGE) + STOP,
        "NEXT_BUFFER": start + b"\x97.",
        "READONLY_BUFFER": start + text + b"\x98.",
        "STRING": b"S'abc'\n.",
        "UNICODE": b"Vabc\n.",
        "INT": b"I1\n.",
        "a number of a million digits": b"L" + b"9" * 10**6 + b"L\n.",
        "LONG4 of 2^31": start + b"\x8b" + struct.pack("<i", 2**31 - 1) + STOP,
        "LONG4 negative": start + b"\x8b" + struct.pack("<i", -1) + STOP,
        "FLOAT": b"F1e999\n.",
        "DUP": start + b"}2.",
        "POP": start + b"}0.",
        "POP_MARK": start + b"(1}.",
        "FROZENSET": start + b"(\x91.",
        "GET": b"(lp0\ng0\n.",
        "DICT": b"(d.",
        "LIST": b"(l.",
        "BUILD a dictionary": start + b"}}b.",
        "BUILD a function": start + fragment(DICT.name) + b"}b.",
        "BUILD with __setstate__": start + fragment(NETWORK) + b"}b.",
        "BUILD with slots": start + fragment(DICT) + b"N}\x86b.",
        "BUILD a tensor": start + fragment(TENSOR) + b"}b.",
        "BUILD a dtype of fields": start + fragment(Call(Name("numpy", "dtype"), ("f8",)))
        + fragment((3, "|", None, ("a",), {"a": 1}, -1, -1, 0)) + b"b.",
        "BUILD a big-endian dtype": start + fragment(Call(Name("numpy", "dtype"), ("f8",)))
        + fragment((3, ">", None, None, None, -1, -1, 0)) + b"b.",
        "calls a dictionary": start + b"})R.",
        "calls a text": start + text + b")R.",
        "calls with a list": start + fragment(DICT.name) + b"]R.",
        "a global of numbers": start + b"K\x01K\x02\x93.",
        "a global of lists": start + b"]]\x93.",
        "empty stack": start + b"R.",
        "no mark": start + b"}u.",
        "half an item": start + b"}(K\x01u.",
        "items of a list": start + b"](" + text + b"K\x01u.",
        "appends to a dictionary": start + b"}(K\x01e.",
        "keys that are numbers": start + b"}K\x01K\x01s.",
        "keys that are tuples": start + b"})K\x01s.",
        "a key of 1 MB": start + b"}" + fragment("k" * 2**20) + b"K\x01s.",
        "a set of tuples": start + b"\x8f()\x90.",
        "a memo that is not there": start + b"h\x09.",
        "a memo index of 2^32": start + b"}r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff.",
        "BINBYTES8 of 2^62": start + b"\x8e" + struct.pack("<Q", HUGE) + b"abc.",
        "BINBYTES8 of 2^64": start + b"\x8e" + b"\xff" * 8 + b"abc.",
        "BINBYTES of 4 GB": start + b"B\xff\xff\xff\xffabc.",
        "BINUNICODE8 of 2^62": start + b"\x8d" + struct.pack("<Q", HUGE) + b"abc.",
        "BINUNICODE of 4 GB": start + b"X\xff\xff\xff\xffabc.",
        "FRAME of 2^63": start + b"\x95" + b"\xff" * 8 + b"}.",
        "text that is no UTF-8": start + b"\x8c\x02\xff\xfe.",
        "two million instructions": start + b"]" + b"N" * 2_000_000 + STOP,
        "a flood of memos": start + b"]" + b"\x94" * 2_000_000 + STOP,
        "a flood of marks": start + b"(" * 2_000_000 + STOP,
        "nested tuples": start + b")" + b"\x85" * deep + STOP,
        "nested tuples as a key": start + b"}" + b")" + b"\x85" * deep + b"K\x01s.",
        "nested tuples in a set": start + b"\x8f()" + b"\x85" * deep + b"\x90.",
        "nested tuples as arguments": start + fragment(DICT.name) + b")" + b"\x85" * deep + b"R.",
        "nested lists": start + b"]" * deep + b"a" * (deep - 1) + STOP,
        "billion laughs, tuples": start + b")" + b"\x94h\x00h\x00\x86"[0:1] + b"h\x00h\x00\x86" + b"".join(
            b"\x94h" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(1, 100)) + STOP,
        "billion laughs, as arguments": start + fragment(DICT.name) + b")\x94h\x00h\x00\x86" + b"".join(
            b"\x94h" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(1, 100)) + b"R.",
        "a list in itself": start + b"]\x94h\x00a.",
    }  # fmt: skip
    return found
