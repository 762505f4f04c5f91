"""A manifest as TOML text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_monitor.encode.manifest import Manifest

    Fields = dict[str, Any]


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest.toml that says what `manifest` says."""
    head = f"# Written by the command that built this bundle; it checks what is below. {_get(manifest)}\n"
    return head + "\n".join(_lines(manifest.model_dump(mode="json", exclude_none=True), "")) + "\n"


def _get(manifest: Manifest) -> str:
    return f"Build it again: {manifest.get}" if manifest.get else ""


def _lines(fields: Fields, name: str) -> list[str]:
    """Return a table's lines: its own values, then the tables in it."""
    lines = [f"{key} = {_value(value)}" for key, value in fields.items() if not _is_table(value)]
    for key, value in fields.items():
        path = f"{name}.{key}" if name else key
        if isinstance(value, dict):
            lines += ["", f"[{path}]", *_lines(value, path)]
        elif _is_table(value):
            for row in value:
                lines += ["", f"[[{path}]]", *_lines(row, path)]
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _value(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return a TOML value; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
