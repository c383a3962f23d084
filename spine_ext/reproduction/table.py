"""A table once, as markdown, CSV and HTML."""

import csv
import dataclasses
import html
import io

NOT_RUN = "not run"
NOT_PUBLISHED = "–"

Cell = None | str | float | tuple[float | None, float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Column:
    """How a column is written.

    Attributes:
        digits: after the point; None: texts and whole numbers.
        signed: with a plus.
        limits: what the two further numbers of each cell are, if there are any: in brackets, and columns of the CSV.
    """

    title: str
    digits: int | None = None
    signed: bool = False
    limits: tuple[str, str] | None = None

    def text(self, cell: Cell) -> str:
        if cell is None:
            return NOT_RUN
        if isinstance(cell, str):
            return cell
        if isinstance(cell, tuple):
            if cell[0] is None:
                return NOT_RUN
            if cell[1] is None or cell[2] is None:
                return self.text(cell[0])
            return f"{self.text(cell[0])} [{self.text(cell[1])}, {self.text(cell[2])}]"
        return f"{cell:{'+' if self.signed else ''},.{self.digits or 0}f}".replace("-", "−")

    def names(self) -> list[str]:
        return [self.title, *(f"{self.title}, {limit}" for limit in self.limits or ())]

    def values(self, cell: Cell) -> list[str]:
        """Of the CSV, to nine digits."""
        if self.limits is None:
            return [NOT_RUN if cell is None else _plain(cell)]
        parts = cell if isinstance(cell, tuple) else (cell, None, None)
        missing = "" if isinstance(parts[0], str) else NOT_RUN
        return [missing if part is None else _plain(part) for part in parts]

    @property
    def is_text(self) -> bool:
        return self.digits is None


@dataclasses.dataclass(frozen=True)
class Table:
    """name: of its files. notes: sentences below it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        lines = [[column.title for column in self.columns]]
        lines += [[column.text(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]
        head, *body = ["| " + " | ".join(_one_line(text) for text in line) + " |" for line in lines]
        rule = "|" + "|".join("---" if column.is_text else "---:" for column in self.columns) + "|"
        notes = ["", *(f"{_one_line(note)}  " for note in self.notes)] if self.notes else []
        return "\n".join([f"## {_one_line(self.title)}", "", head, rule, *body, *notes]) + "\n"

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([name for column in self.columns for name in column.names()])
        for row in self.rows:
            pairs = zip(self.columns, row, strict=True)
            writer.writerow([value for column, cell in pairs for value in column.values(cell)])
        return text.getvalue()

    def html(self) -> str:
        """In a box of its own that scrolls; the title is the table's caption."""
        head = "".join(f'<th scope="col"{_kind(column)}>{html.escape(column.title)}</th>' for column in self.columns)
        body = "".join(f"<tr>{self._html_row(row)}</tr>\n" for row in self.rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return (
            f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(self.title)}">\n'
            f"<table>\n<caption>{html.escape(self.title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
            f'<tbody>\n{body}</tbody>\n</table>\n</div>\n<div class="notes">{notes}</div>\n'
        )

    def _html_row(self, row: tuple[Cell, ...]) -> str:
        cells = []
        for place, (column, cell) in enumerate(zip(self.columns, row, strict=True)):
            text = html.escape(column.text(cell))
            if isinstance(cell, tuple) and " [" in text:
                text = text.replace(" [", "<small>[", 1) + "</small>"
            if place == 0:
                cells.append(f'<th scope="row">{text}</th>')
            elif text == NOT_RUN:
                cells.append(f'<td class="missing{"" if column.is_text else " number"}">{text}</td>')
            else:
                cells.append(f"<td{_kind(column)}>{text}</td>")
        return "".join(cells)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.9g}"


def _kind(column: Column) -> str:
    return "" if column.is_text else ' class="number"'


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
