"""Reading JSON that may be incomplete or broken: every value is asked for by kind, and a wrong one is one line."""

import json
import math
from pathlib import Path


class BrokenRecord(ValueError):
    """What is wrong with a record: where, the value, and what was expected."""


class Record:
    """A JSON object; `place` names it in messages."""

    def __init__(self, values: object, place: str) -> None:
        if not isinstance(values, dict):
            raise BrokenRecord(f"{place} is {_shown(values)}: an object was expected")
        self.values = values
        self.place = place

    def has(self, name: str) -> bool:
        """Whether there is a value, and it is not null."""
        return self.values.get(name) is not None

    def record(self, name: str) -> "Record":
        return Record(self._get(name, "an object"), f"{self.place}.{name}")

    def records(self, name: str) -> list["Record"]:
        return [Record(each, f"{self.place}.{name}[{place}]") for place, each in enumerate(self._list(name))]

    def text(self, name: str) -> str:
        value = self._get(name, "a text")
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(name, values, "a list of texts")
        return tuple(values)

    def number(self, name: str) -> float:
        value = self._get(name, "a finite number")
        if not is_number(value):
            raise self._wrong(name, value, "a finite number")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        return self.number(name) if self.has(name) else None

    def whole(self, name: str) -> int:
        value = self.number(name)
        if value < 0 or value % 1:
            raise self._wrong(name, value, "a whole number from 0")
        return int(value)

    def whole_or_none(self, name: str) -> int | None:
        return self.whole(name) if self.has(name) else None

    def numbers(self, name: str) -> tuple[float, ...]:
        return self._numbers(name, self._list(name))

    def counts(self, name: str, size: int) -> tuple[tuple[int, ...], ...]:
        """A table (size, size) of whole numbers."""
        rows = self._list(name)
        is_square = len(rows) == size and all(isinstance(row, list) and len(row) == size for row in rows)
        if not is_square or not all(
            is_number(value) and value >= 0 and value % 1 == 0 for row in rows for value in row
        ):
            raise self._wrong(name, rows, f"a table of {size} x {size} counts")
        return tuple(tuple(int(value) for value in row) for row in rows)

    def _numbers(self, name: str, values: list) -> tuple[float, ...]:
        if not all(is_number(value) for value in values):
            raise self._wrong(name, values, "a list of finite numbers")
        return tuple(float(value) for value in values)

    def _list(self, name: str) -> list:
        value = self._get(name, "a list")
        if not isinstance(value, list):
            raise self._wrong(name, value, "a list")
        return value

    def _get(self, name: str, expected: str) -> object:
        if not self.has(name):
            raise BrokenRecord(f"{self.place}.{name} is missing: {expected} was expected")
        return self.values[name]

    def _wrong(self, name: str, value: object, expected: str) -> BrokenRecord:
        return BrokenRecord(f"{self.place}.{name} is {_shown(value)}: {expected} was expected")


def read_record(path: Path) -> Record:
    """The JSON object in a file. Raises `BrokenRecord` where it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenRecord(f"{path.name} cannot be read as JSON: {' '.join(str(error).split())}") from error
    return Record(values, path.name)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
