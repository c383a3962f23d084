"""A pickle machine for hostile files: it builds plain values, and calls nothing but functions it was given.

Python's own unpickler, told to refuse foreign names, would still let a file call `__setstate__`, ask for terabytes
(a memo index or a length is a claim of eight bytes) or nest tuples until hashing one overflows the stack. So the
instructions that official snapshots consist of are carried out here, on dict, list, tuple, set, str, bytes and numbers;
any other instruction is refused before its argument is decoded. The argument formats are those of `pickletools`.
"""

import io
import pickletools
from collections.abc import Callable
from typing import NamedTuple

from stylegan2ada.errors import UserError

MAX_INSTRUCTIONS = 300_000  # a snapshot of 1024 px has about 50,000
MAX_NAME_LENGTH = 256
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
}  # fmt: skip
_TUPLE_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Function(NamedTuple):
    """What a global name of the file stands for: `call` gets the file's arguments as one tuple, and checks them."""

    name: str
    call: Callable[[tuple], object]


class Buildable:
    """A value whose state the file may set by a BUILD instruction: `build` gets that state, and checks it."""

    def build(self, state: object) -> None:
        raise NotImplementedError


Vocabulary = Callable[[str, str], Function]
LoadPersistent = Callable[[object], object]


def run(
    stream: io.BytesIO,
    vocabulary: Vocabulary,
    load_persistent: LoadPersistent | None = None,
    max_instructions: int = MAX_INSTRUCTIONS,
) -> object:
    """The value of the pickle at the stream's position, which moves behind it.

    `vocabulary(module, name)` gives the function of a global name or raises UserError; `load_persistent` the value of
    a persistent id, where these may occur.

    Raises:
        UserError: an instruction, name or argument that official snapshots do not have, or a damaged stream.
    """
    try:
        return _Machine(stream, vocabulary, load_persistent).run(max_instructions)
    except (LookupError, TypeError, ValueError, OverflowError) as error:  # stack, memo, arguments, encodings
        raise UserError(f"is damaged at byte {stream.tell()}: {ascii(str(error))[1:-1][:80]}") from error


def quoted(text: object) -> str:
    """A name of the file, short and on one line whatever it holds."""
    return ascii(text[:80])[1:-1][:80] if type(text) is str else f"a {type(text).__name__}"


class _Machine:
    def __init__(self, stream: io.BytesIO, vocabulary: Vocabulary, load_persistent: LoadPersistent | None):
        self._stream, self._vocabulary, self._load_persistent = stream, vocabulary, load_persistent
        self._stack: list = []
        self._below_marks: list[list] = []
        self._memo: dict[int, object] = {}

    def run(self, max_instructions: int) -> object:
        for _ in range(max_instructions):
            code = self._stream.read(1)
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                self._refuse(code)
            argument = instruction.arg.reader(self._stream) if instruction.arg else None
            if instruction.name == "STOP":
                return self._stack.pop()
            self._step(instruction.name, argument)
        raise UserError(f"is no official snapshot: it has more than {max_instructions} pickle instructions")

    @staticmethod
    def _refuse(code: bytes) -> None:
        if not code:
            raise UserError("ends too early: the file is truncated")
        known = pickletools.code2op.get(code.decode("latin-1"))
        what = f"the pickle instruction {known.name}" if known else f"the byte {code!r} as an instruction"
        raise UserError(f"is no official snapshot: it uses {what}, which these do not")

    def _step(self, name: str, argument: object) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _TUPLE_SIZES:
            self._stack.append(tuple(reversed([self._stack.pop() for _ in range(_TUPLE_SIZES[name])])))
        else:
            _ACTIONS[name](self, argument)

    def _ignore(self, _: object) -> None:  # PROTO, FRAME: claims about what follows
        pass

    def _mark(self, _: object) -> None:
        self._below_marks.append(self._stack)
        self._stack = []

    def _pop_to_mark(self) -> list:
        items, self._stack = self._stack, self._below_marks.pop()
        return items

    def _tuple(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _append(self, _: object) -> None:
        self._extend_list([self._stack.pop()])

    def _appends(self, _: object) -> None:
        self._extend_list(self._pop_to_mark())

    def _extend_list(self, items: list) -> None:
        _checked(self._stack[-1], list).extend(items)

    def _set_item(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update_dict([key, value])

    def _set_items(self, _: object) -> None:
        self._update_dict(self._pop_to_mark())

    def _update_dict(self, items: list) -> None:
        target = _checked(self._stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_name(key)] = value

    def _add_items(self, _: object) -> None:
        items = self._pop_to_mark()
        _checked(self._stack[-1], set).update(_name(item) for item in items)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._vocabulary(module, name))

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._vocabulary(_checked(module, str), _checked(name, str)))

    def _call(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(_checked(function, Function).call(_checked(arguments, tuple)))

    def _build(self, _: object) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if not isinstance(target, Buildable):
            raise UserError(f"is no official snapshot: it sets the state of a {type(target).__name__}")
        target.build(state)

    def _persistent_id(self, _: object) -> None:
        if self._load_persistent is None:
            raise UserError("is no official snapshot: it refers to objects outside the file (BINPERSID)")
        self._stack.append(self._load_persistent(self._stack.pop()))


def _checked(value: object, kind: type) -> object:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
    return value


def _name(value: object) -> str:
    """A key: hashing what is no string could take for ever or all of the stack, and long ones would add up."""
    if len(_checked(value, str)) > MAX_NAME_LENGTH:
        raise ValueError(f"a name has {len(value)} characters")
    return value


_ACTIONS: dict[str, Callable[[_Machine, object], None]] = {
    "PROTO": _Machine._ignore,
    "FRAME": _Machine._ignore,
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._memoize,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "ADDITEMS": _Machine._add_items,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent_id,
}
_KNOWN = {"STOP", *_CONSTANTS, *_EMPTY, *_LITERALS, *_TUPLE_SIZES, *_ACTIONS}
_INSTRUCTIONS = {op.code.encode("latin-1"): op for op in pickletools.opcodes if op.name in _KNOWN}
