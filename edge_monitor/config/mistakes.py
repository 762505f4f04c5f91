"""What a wrong setting is called: pydantic's errors as one line each, with the key's own description as remedy."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from edge_monitor.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    Step = str | int

_SECRET = re.compile(r"password|secret|token")
_NUMBER_WITH_UNIT = re.compile(r"\s*[-+]?[\d.,]+\s*([A-Za-z%]+)\s*")
_NUMBER_IN_QUOTES = re.compile(r"\s*[-+]?\d+(\.\d+)?\s*")
_SHOWN_CHARACTERS = 40

# pydantic's error types -> what is wrong, filled from the error's own figures.
_WORDING = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "greater_than": "must be > {gt:g}",
    "greater_than_equal": "must be >= {ge:g}",
    "less_than": "must be < {lt:g}",
    "less_than_equal": "must be <= {le:g}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "path_type": "must be a path in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list [ … ]",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "union_tag_not_found": "needs a kind: {kinds}",
    "union_tag_invalid": "kind must be {kinds}",
    "value_error": "{error}",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong setting."""

    path: tuple[Step, ...]  # keys, and positions from 0, as in the parsed file
    what: str
    hint: str

    def __str__(self) -> str:
        """Return `key: what (hint)`."""
        return f"{dotted(self.path)}: {self.what}" + (f" ({self.hint})" if self.hint else "")


def dotted(path: Sequence[Step]) -> str:
    """Return the key as a person writes it: `machine[1].source.channel` is the first machine's."""
    text = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.lstrip(".") or "the file"


def mistakes_in(error: ValidationError, data: dict[str, Any]) -> list[Mistake]:
    """Return one mistake per wrong key of `data`; the branches of a union are one mistake."""
    found: dict[tuple[Step, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail, data)
        found.setdefault(path, []).append(detail)
    if len(found) > 1 and data.get("machine"):
        # pydantic counts only the valid ones: "too short" would be said of a list whose entries are wrong
        found = {path: details for path, details in found.items() if details[0]["type"] != "too_short"} or found
    return [_mistake(path, details, data) for path, details in found.items()]


def _path(detail: ErrorDetails, data: object) -> tuple[Step, ...]:
    """Return where the mistake is in the file, without the names pydantic gives to a union's branches."""
    path: list[Step] = []
    for step in detail["loc"]:
        try:
            data = value_at(data, [step])
        except LookupError:
            continue
        path.append(step)
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return tuple(path)


def _mistake(path: tuple[Step, ...], details: list[ErrorDetails], data: dict[str, Any]) -> Mistake:
    detail = details[0]
    value = None if detail["type"] == "missing" else value_at(data, path)
    if path == ("machine",) and isinstance(value, dict):
        return Mistake(path, "must be a list of tables", "write [[machine]], with two brackets")
    if path == ("machine",) and detail["type"] == "missing":
        return Mistake(path, "is missing", "describe at least one machine in a [[machine]] table")
    if path == ("machine",) and detail["type"] == "value_error":
        path = _second_of_a_name(data) or path
    if detail["type"] == "extra_forbidden":
        return Mistake(path, "unknown key", _nearest(path, data))
    what = " or ".join(dict.fromkeys(_words(each) for each in details)).replace(" or must be ", " or ")
    if detail["type"] == "value_error":
        return Mistake(path, what, "")  # the validators of config.py say what to do themselves
    if detail["type"] != "missing" and not isinstance(value, dict) and not _is_secret(path):
        what += f", not {_shown(value)}"
    return Mistake(path, what, _hint(path, value, data))


def _words(detail: ErrorDetails) -> str:
    wording = _WORDING.get(detail["type"])
    if wording is None:
        return detail["msg"].replace("Input should", "must")
    figures = dict(detail.get("ctx", {}))
    figures["expected"] = str(figures.get("expected", "")).replace("'", '"')
    figures["kinds"] = str(figures.get("expected_tags", '"microphone", "recording" or "simulator"')).replace("'", '"')
    return wording.format_map(figures)


def _is_secret(path: Sequence[Step]) -> bool:
    return any(isinstance(step, str) and _SECRET.search(step) for step in path)


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _hint(path: Sequence[Step], value: object, data: dict[str, Any]) -> str:
    hints = []
    key = str(path[-1]) if path else ""
    if isinstance(value, str) and key.endswith(("_s", "_hz", "_db", "_mb", "_days")):
        if _NUMBER_WITH_UNIT.fullmatch(value):
            hints.append("a number without unit or quotes")
        elif _NUMBER_IN_QUOTES.fullmatch(value):
            hints.append("without quotes")
    description = describe(path, data)
    if description:
        hints.append(description)
    return "; ".join(hints)


def _nearest(path: Sequence[Step], data: dict[str, Any]) -> str:
    """Return the remedy for an unknown key: its neighbour in spelling, the table it belongs to, or the known keys."""
    key = str(path[-1])
    model = model_at(path[:-1], data)
    if model is None:
        return "remove it"
    known = keys_of(model)
    close = get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        description = describe((*path[:-1], close[0]), data)
        return f"did you mean {close[0]}" + (f": {description}" if description else "?")
    homes = [table for table, keys in _tables() if key in keys]
    if homes and homes[0] != "the top level":
        return f"it belongs in {' or '.join(dict.fromkeys(homes))}"
    return "known here: " + ", ".join(known)


def _second_of_a_name(data: dict[str, Any]) -> tuple[Step, ...] | None:
    seen: set[object] = set()
    for index, machine in enumerate(data["machine"]):
        if machine["name"] in seen:
            return ("machine", index, "name")
        seen.add(machine["name"])
    return None


def value_at(data: object, path: Sequence[Step]) -> object:
    """Return what the parsed file holds at `path`. Raises LookupError where it holds nothing."""
    for step in path:
        match data:
            case dict():
                data = data[step]
            case list() if isinstance(step, int):
                data = data[step]
            case _:
                raise KeyError(step)
    return data


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return a table's keys as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the tables a field's type can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from models_in(part)


def model_at(path: Sequence[Step], data: object) -> type[BaseModel] | None:
    """Return the table at `path`; where several are possible, the one of the `kind` the data names."""
    model: type[BaseModel] = Settings
    for step in path:
        with suppress(LookupError):
            data = value_at(data, [step])
        if isinstance(step, int):
            continue
        names = {field.alias or name: field for name, field in model.model_fields.items()}
        choices = list(models_in(names[step].annotation)) if step in names else []
        if len(choices) > 1:
            kind = data.get("kind") if isinstance(data, dict) else None
            choices = [choice for choice in choices if kind in get_args(choice.model_fields["kind"].annotation)]
        if not choices:
            return None
        model = choices[0]
    return model


def describe(path: Sequence[Step], data: dict[str, Any]) -> str:
    """Return the description of the key at `path`, or an empty string."""
    keys = [step for step in path if isinstance(step, str)]
    if not keys:
        return ""
    cut = len(path) - 1 - list(reversed(path)).index(keys[-1])
    model = model_at(path[:cut], data)
    if model is None:
        return ""
    return next((f.description or "" for n, f in model.model_fields.items() if (f.alias or n) == keys[-1]), "")


def _tables(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield every table as its header is written, with its keys."""
    yield f"[{prefix}]" if prefix else "the top level", keys_of(model)
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield from _tables(inner, f"{prefix}.{name}".lstrip("."))
