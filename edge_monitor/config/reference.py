"""docs/configuration.md, written from the settings themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from edge_monitor.config.mistakes import models_in
from edge_monitor.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

_HEAD = """# Configuration

`edge-monitor.toml`, from `--config`, `$EDGE_MONITOR_CONFIG`, `./` or `/etc/edge-monitor/`. `edge-monitor config init`
writes one, `edge-monitor config check` tells mistakes with their lines. Each key stands with its default and what it
may hold. Relative paths mean the file's folder. `_s` seconds, `_hz` hertz, `_db` decibels, `_mb` megabytes.
`machine[1]` is the first `[[machine]]`.

*Written by `edge-monitor config reference`.*
"""
_NAMES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "boolean", "array": "list"}


def reference() -> str:
    """Return the reference of every table and key as Markdown."""
    return "\n".join([_HEAD, *_sections(Settings, "")])


def _sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        tables = list(models_in(field.annotation))
        for table in tables:
            path = f"{prefix}.{name}".lstrip(".")
            yield from _section(table, path, one_of_many=len(tables) > 1)
            yield from _sections(table, path)


def _section(model: type[BaseModel], path: str, *, one_of_many: bool) -> Iterator[str]:
    header = f"[[{path}]]" if path == "machine" else f"[{path}]"
    if one_of_many:
        kind = get_args(model.model_fields["kind"].annotation)[0]
        header += f' kind = "{kind}"'
    summary = (model.__doc__ or "").partition("\n")[0]
    yield f"## `{header}`\n\n{_capitalized(summary.rpartition('`: ')[2])}\n"
    schema = model.model_json_schema()
    required = schema.get("required", [])
    for key, field in schema["properties"].items():
        # A table of its own has its own section, and the kind stands in its header.
        if "$ref" not in json.dumps(field) and "const" not in field:
            yield _line(key, field, required=key in required)
    yield ""


def _line(key: str, field: dict[str, Any], *, required: bool) -> str:
    """Return what a key may hold and means: ``- `hop_s = 1.0` (0.1 to 60): seconds from one window to the next``."""
    default = field.get("default")
    holds = list(dict.fromkeys(_types(field)))
    if default is not None:
        key = f"{key} = {json.dumps(default, ensure_ascii=False)}"
        holds = [each for each in holds if len(holds) > 1 or each not in _NAMES.values()]  # else the default shows it
    if required:
        holds.append("required")
    said = f" ({', '.join(holds)})" if holds else ""
    meaning = field.get("description", "")
    return f"- `{key}`{said}" + (f": {meaning}" if meaning else "")


def _capitalized(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _types(field: dict[str, Any]) -> Iterator[str]:
    """Yield what a key may hold, e.g. `number, ≥ 0`."""
    if "anyOf" in field:
        for branch in field["anyOf"]:
            yield from _types(branch)
    elif "const" in field or "enum" in field:
        yield from (f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    elif field["type"] != "null":
        yield _bounds(field) or _NAMES[field["type"]]


def _bounds(field: dict[str, Any]) -> str:
    """Return between which numbers a value lies; an empty text when any will do."""
    if "minimum" in field and "maximum" in field:
        return f"{field['minimum']:g} to {field['maximum']:g}"
    signs = (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤"))
    return " ".join(f"{sign}{field[name]:g}" for name, sign in signs if name in field)
