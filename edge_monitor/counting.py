"""Counts in a person's lines: 1 normal, 2 normals."""

from __future__ import annotations


def counted(count: int, noun: str, form: str = "d") -> str:
    """Return a number, formatted as in an f-string, with its noun in the right number: `1 normal`, `-2 normals`."""
    return f"{count:{form}} {noun if abs(count) == 1 else noun + 's'}"
