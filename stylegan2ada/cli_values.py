"""Values on command lines that several scripts share: lists of seeds, layers and numbers, and classes by name."""

import math
import re
from collections.abc import Sequence

from .errors import UserError

MAX_SEED = 2**32 - 1
MAX_SEEDS = 10_000_000
MAX_PSI = 1000.0  # far beyond, there is no image but overflows
ALL_CLASSES = "all"


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """`0,3,5-9` to a list without repeats, in the order given."""
    return _parse_ranges(text, option, MAX_SEED, "seeds go up to")


def parse_layers(text: str, num_ws: int, option: str = "--styles") -> list[int]:
    """`0-6` or `0,1,4` to the numbers of latents of a generator that takes `num_ws` of them."""
    return _parse_ranges(text, option, num_ws - 1, f"this network has {num_ws} layers, they go up to")


def parse_numbers(text: str, option: str) -> list[float]:
    """`0,0.5,1` to finite numbers, in the order given."""
    numbers = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            raise UserError(f"{option} {text}: {part!r} is no number; write for example 0,0.5,1") from None
        if not math.isfinite(number):
            raise UserError(f"{option} {text}: {part.strip()} is not a finite number; write for example 0,0.5,1")
        numbers.append(number)
    return numbers


def check_psi(psi: float, option: str = "--trunc") -> None:
    """Raises UserError for a truncation that gives no images."""
    if not abs(psi) <= MAX_PSI:  # a NaN neither
        raise UserError(f"{option} {psi:g} is no truncation that gives images: choose one around 0 to 1")


def parse_classes(wanted: Sequence[str], num_classes: int, class_names: Sequence[str] | None) -> list[int]:
    """The classes that names, numbers or `all` mean, each once; of an unconditional network, which has none, []."""
    if num_classes == 0:
        if wanted:
            raise UserError(f"--class {wanted[0]}: this network is unconditional, it has no classes; leave --class out")
        return []
    found: dict[int, None] = {}
    for one in wanted:
        every = one == ALL_CLASSES and ALL_CLASSES not in (class_names or ())
        numbers = range(num_classes) if every else [class_index(one, num_classes, class_names)]
        found.update(dict.fromkeys(numbers))
    return list(found)


def class_index(wanted: str, num_classes: int, class_names: Sequence[str] | None) -> int:
    """The class that a name or number means."""
    if class_names and wanted in class_names:
        return class_names.index(wanted)
    if re.fullmatch(r"\d{1,9}", wanted) and int(wanted) < num_classes:
        return int(wanted)
    named = "" if not class_names else " or a name: " + ", ".join(class_names)
    numbers = f"a number from 0 to {num_classes - 1}"
    raise UserError(f"--class {wanted}: this network has no such class; choose {numbers}{named}")


def class_label(index: int | None, class_names: Sequence[str] | None) -> str:
    """How a class is called in pictures and messages: its name where it has one; empty without classes."""
    if index is None:
        return ""
    return class_names[index] if class_names else f"class {index}"


def _parse_ranges(text: str, option: str, largest: int, limit: str) -> list[int]:
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part)
        if not match:
            raise UserError(f"{option} {text}: {part!r} is neither a number nor a range; write for example 0,3,5-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"{option} {text}: the range {part} runs backwards; write {last}-{first}")
        if last > largest:
            raise UserError(f"{option} {text}: {last} is too large; {limit} {largest}")
        if len(numbers) + last - first >= MAX_SEEDS:
            raise UserError(f"{option} {text}: more than {MAX_SEEDS:,} images at once; split the range")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return list(numbers)
