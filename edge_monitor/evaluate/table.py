"""Tables of text cells, as Markdown that lines up on a terminal and as HTML; pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = "-"  # an empty cell


@dataclass(frozen=True, slots=True)
class Table:
    """A heading for each column, and as many cells in each row. The first column holds names, the others figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table, a line for each row."""
        cells = [tuple(cell.replace("|", "\\|") for cell in row) for row in (self.head, *self.rows)]
        width = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        rule = ["-" * width[0], *("-" * (each - 1) + ":" for each in width[1:])]
        return "\n".join(_line(row, width) for row in (cells[0], rule, *cells[1:]))

    def html(self) -> str:
        """Return the table as an element."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        rows = "\n".join(
            f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
            for row in self.rows
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _line(row: Sequence[str], width: Sequence[int]) -> str:
    first, *others = zip(row, width, strict=True)
    return f"| {first[0]:<{first[1]}} | " + " | ".join(f"{cell:>{each}}" for cell, each in others) + " |"
