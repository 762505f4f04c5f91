"""Counts in a person's lines."""

from __future__ import annotations

from edge_monitor.counting import counted


def test_one_is_singular() -> None:
    """Also with a sign; none and many are plural."""
    assert [counted(count, "normal") for count in (0, 1, 2)] == ["0 normals", "1 normal", "2 normals"]
    assert [counted(count, "normal", "+d") for count in (-1, 1, 3)] == ["-1 normal", "+1 normal", "+3 normals"]
