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

`edge-monitor.toml`, looked for in `$EDGE_MONITOR_CONFIG`, `./edge-monitor.toml` and
`/etc/edge-monitor/edge-monitor.toml`; `--config` names another. `edge-monitor config init` writes a commented one,
`edge-monitor config check` tells every mistake in it with its line, and a bundle, recording or password file that is
missing. Relative paths are taken from the file's folder.
Units are in the names: `_s` seconds, `_hz` hertz, `_db` decibels, `_mb` megabytes. In messages `machine[1]` is the
first `[[machine]]`.

*Written by `edge-monitor config reference`; a test compares.*
"""


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
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    schema = model.model_json_schema()
    required = schema.get("required", [])
    for key, field in schema["properties"].items():
        if "$ref" in json.dumps(field):  # a table of its own, with its own section
            continue
        default = "**required**" if key in required else _default(field)
        cells = (f"`{key}`", " or ".join(dict.fromkeys(_types(field))), default, field.get("description", ""))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _capitalized(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _types(field: dict[str, Any]) -> Iterator[str]:
    """Yield what a key may hold, e.g. `number ≥ 0`."""
    if "anyOf" in field:
        for branch in field["anyOf"]:
            yield from _types(branch)
    elif "const" in field or "enum" in field:
        yield from (f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    elif field["type"] != "null":
        names = {"integer": "whole number", "string": "text", "boolean": "`true`, `false`", "array": "list"}
        bounds = (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤"))
        words = [f"{sign} {field[name]:g}" for name, sign in bounds if name in field]
        yield " ".join([names.get(field["type"], field["type"]), *words])
