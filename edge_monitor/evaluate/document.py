"""What our files for people are made of: HTML pages from the templates beside this file, and tables.

A page fetches nothing but what it says, and runs nothing that it does not name.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTHING = "-"  # an empty cell
HERE = Path(__file__).parent


def page(name: str, title: str, allowed: Mapping[str, str], **parts: str) -> str:
    """Return `{name}.html` with its parts, as they are; only the style of `{name}.css` applies.

    `allowed`: directives of the content security policy; without one nothing is loaded.
    """
    template, style = ((HERE / f"{name}.{kind}").read_text("utf-8") for kind in ("html", "css"))
    directives = {"default-src": "'none'", **allowed, "style-src": hash_source(style)}
    policy = "; ".join(f"{directive} {source}" for directive, source in directives.items())
    return Template(template).substitute(parts, title=escape(title), style=style, policy=policy)


def hash_source(text: str) -> str:
    """Return what allows exactly this inline style or script in a content security policy (CSP 2, 4.2.5)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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
