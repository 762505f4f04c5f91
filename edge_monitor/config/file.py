"""edge-monitor.toml on disk: read, checked, and every mistake told with its file, line, key and remedy."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edge_monitor.config.mistakes import mistakes_in, value_at
from edge_monitor.config.settings import Settings
from edge_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.config.mistakes import Mistake, Step

_MAX_BYTES = 1 << 20  # a thousand machines fit many times; a device or a recording given by mistake does not
_MOST_TOLD = 25  # mistakes in one refusal
_MOST_PARSED = 5_000_000  # characters, to find where statements end: a few seconds
_KEY = re.compile(r"""(?:[\w-]++|"(?:[^"\\]|\\.)*+"|'[^']*+'|[\s.])++(?==)""")  # what is left of a statement's `=`
_UNREADABLE: dict[type[Exception], tuple[str, str]] = {
    FileNotFoundError: ("no such file", "`edge-monitor config init` writes one"),
    IsADirectoryError: ("is a folder, not a file", "name the .toml file in it"),
    PermissionError: ("may not be read", "check its owner and mode"),
}


def load_settings(path: Path) -> Settings:
    """Read the settings at `path`; relative paths in it mean the folder it lies in.

    Raises ConfigError whose text has one line per mistake: `file:line: key: what is wrong (what to do)`.
    """
    text = _read(path)
    data = _parse(text, path)
    try:
        return Settings.model_validate(data, context=path.absolute().parent)
    except ValidationError as error:
        raise _refusal(mistakes_in(error, data), text, path) from None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        what, hint = _UNREADABLE.get(type(error), (f"cannot be read: {error}", None))
        raise ConfigError(what, where=str(path) if hint else repr(str(path)), hint=hint) from error
    if len(content) > _MAX_BYTES:
        raise ConfigError("is larger than 1 MB", where=str(path), hint="is it a configuration?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8", where=f"{path}:{line}", hint="save the file as UTF-8") from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError("is nested too deeply", where=str(path)) from None
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number with 5000 digits
        what, _, position = str(error).partition(" (at ")  # a line, or the end of the document
        line = re.match(r"line (\d+)", position) or [0, text.rstrip("\n").count("\n") + 1]
        where = f"{path}:{line[1]}" if position else str(path)
        hint = "text needs quotes, and { … } stays on one line"
        raise ConfigError(f"not TOML: {what}", where=where, hint=hint) from error


def _refusal(mistakes: Sequence[Mistake], text: str, path: Path) -> ConfigError:
    numbered = _numbered(text)
    told = sorted((_line(mistake.path, numbered), str(mistake)) for mistake in mistakes[:_MOST_TOLD])
    more = [f"{path}: and {len(mistakes) - _MOST_TOLD} more"] if len(mistakes) > _MOST_TOLD else []
    return ConfigError(
        "\n".join([f"{path}:{line}: {what}" if line else f"{path}: {what}" for line, what in told] + more)
    )


def _numbered(text: str) -> dict[str, Any] | None:
    """Return what `text`, which parses, holds, but each value is the line its statement begins on; None: too long.

    A table has the line of its header as a value more. A statement ends where what has been read of it parses.
    """
    header_key = "-"
    while header_key in text:
        header_key += "-"
    numbered, statement, first, parsed = "", "", 1, 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        statement += line + "\n"
        parsed += len(statement)
        if parsed > _MOST_PARSED:
            return None
        try:
            tomllib.loads(statement)
        except ValueError:
            continue
        if key := _KEY.match(statement):
            numbered += f"{key[0]}= {first}\n"
        elif statement.lstrip().startswith("["):
            numbered += f"{statement}{header_key} = {first}\n"
        statement, first = "", number + 1
    return tomllib.loads(numbered)


def _line(path: Sequence[Step], numbered: dict[str, Any] | None) -> int:
    """Return the line (from 1) of the key at `path`, or of the nearest table around it; 0: unknown."""
    if numbered is None:
        return 0
    while path:
        try:
            return _first_line(value_at(numbered, path))
        except LookupError:
            path = path[:-1]
    return 1


def _first_line(numbered: int | list[Any] | dict[str, Any]) -> int:
    if isinstance(numbered, int):
        return numbered
    return min(map(_first_line, numbered.values() if isinstance(numbered, dict) else numbered))
