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
_SHOWN_CHARACTERS = 40

# pydantic's error types -> what is wrong, where pydantic itself speaks of Python.
_WORDING = {
    "missing": "is missing",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "path_type": "must be a path in quotes",
    "tuple_type": "must be a list [ … ]",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "union_tag_not_found": "has no kind",
    "union_tag_invalid": "has an unknown kind",
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


@dataclass(frozen=True, slots=True)
class Key:
    """A key that the file may have."""

    table: str  # as its header is written; empty at the top
    meaning: str


def dotted(path: Sequence[Step]) -> str:
    """Return the key as a person writes it: `machine[1].source.channel` is the first machine's."""
    text = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{_shown_key(step)}" for step in path)
    return text.lstrip(".") or "the file"


def mistakes_in(error: ValidationError, data: dict[str, Any]) -> list[Mistake]:
    """Return one mistake per wrong key of `data`; the branches of a union are one mistake."""
    found: dict[tuple[Step, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail, data)
        if detail["type"] != "too_short" or not value_at(data, path):  # pydantic counts only the valid entries
            found.setdefault(path, []).append(detail)
    keys = dict(_keys(Settings))
    return [_mistake(path, details, data, keys) for path, details in found.items()]


def _path(detail: ErrorDetails, data: object) -> tuple[Step, ...]:
    """Return where the mistake is in the file, without the names pydantic gives to a union's branches."""
    path: list[Step] = []
    for step in detail["loc"]:
        with suppress(LookupError):
            data = value_at(data, [step])
            path.append(step)
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return (*path, *detail.get("ctx", {}).get("at", ()))


def _mistake(
    path: tuple[Step, ...], details: list[ErrorDetails], data: dict[str, Any], keys: dict[tuple[str, ...], Key]
) -> Mistake:
    kind, place = details[0]["type"], tuple(step for step in details[0]["loc"] if isinstance(step, str))
    if kind == "extra_forbidden":
        return Mistake(path, "unknown key", _nearest(place, keys))
    what = " or ".join(dict.fromkeys(map(_words, details))).replace(" or must be ", " or ")
    if kind == "value_error":
        return Mistake(path, what, "")  # the validators of settings say what to do themselves
    value = None if kind == "missing" else value_at(data, path)
    if kind != "missing" and not isinstance(value, dict) and not _SECRET.search(dotted(path)):
        what += f", not {_shown(value)}"
    hints = ["without unit or quotes"] if kind in {"float_type", "int_type"} and isinstance(value, str) else []
    known = (keys[place[:length]].meaning for length in range(len(place), 0, -1) if place[:length] in keys)
    return Mistake(path, what, "; ".join([*hints, *filter(None, [next(known, "")])]))


def _words(detail: ErrorDetails) -> str:
    wording = _WORDING.get(detail["type"])
    if wording is not None:
        return wording.format_map(detail.get("ctx", {}))
    return re.sub(r"^\w+ should", "must", detail["msg"].removeprefix("Value error, "))


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _shown_key(key: str) -> str:
    return key if key.isprintable() else ascii(key)


def _nearest(place: tuple[str, ...], keys: dict[tuple[str, ...], Key]) -> str:
    """Return the remedy for an unknown key: its neighbour in spelling, the table it belongs to, or the known keys."""
    *table, key = place
    here = [known[-1] for known in keys if known[:-1] == tuple(table)]
    if close := get_close_matches(key, here, n=1):
        meaning = keys[*table, close[0]].meaning
        return f"did you mean {close[0]}" + (f": {meaning}" if meaning else "?")
    homes = dict.fromkeys(about.table for known, about in keys.items() if known[-1] == key and about.table)
    return f"it belongs in {' or '.join(homes)}" if homes else "known here: " + ", ".join(here)


def value_at(data: object, path: Sequence[Step]) -> Any:  # noqa: ANN401 - any value that TOML has
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


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the tables a field's type can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from models_in(part)


def _keys(
    model: type[BaseModel], place: tuple[str, ...] = (), table: str = ""
) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Yield every key of the file by its place as pydantic has it: where a table has a kind, that follows its name."""
    for name, field in model.model_fields.items():
        here = (*place, field.alias or name)
        yield here, Key(f"[{table}]" if table else "", field.description or "")
        choices = list(models_in(field.annotation))
        for choice in choices:
            kind = get_args(choice.model_fields["kind"].annotation) if len(choices) > 1 else ()
            yield from _keys(choice, (*here, *kind), f"{table}.{here[-1]}".lstrip("."))
