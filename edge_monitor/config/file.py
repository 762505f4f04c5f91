"""edge-monitor.toml on disk: read, checked, and every mistake told with its file, line, key and remedy."""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from edge_monitor.config.mistakes import Mistake, mistakes_in, value_at
from edge_monitor.config.settings import ModelSettings, Settings
from edge_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Step = str | int

_MAX_BYTES = 1 << 20  # a thousand machines fit many times; a device or a recording given by mistake does not
_MOST_TOLD = 25  # mistakes in one refusal
_MOST_LINES = 500  # of one value; nothing a machine is described by comes near
_MOST_PARSED = 5_000_000  # characters, to find the lines of all mistakes: a few seconds

_Model = TypeVar("_Model", bound=BaseModel)


def load_settings(path: Path) -> Settings:
    """Read the settings at `path`; relative paths in it mean the folder it lies in.

    Raises ConfigError whose text has one line per mistake: `file:line: key: what is wrong (what to do)`.
    """
    text = _read(path)
    data = _parse(text, path)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise _refusal(mistakes_in(error, data), text, path) from None
    mistakes = [*_unprintable(data), *_homeless(settings)]
    if mistakes:
        raise _refusal(mistakes, text, path)
    return _anchored(settings, path.absolute().parent)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), hint="`edge-monitor config init` writes one") from None
    except IsADirectoryError:
        raise ConfigError("is a folder, not a file", where=str(path), hint="name the .toml file in it") from None
    except PermissionError:
        raise ConfigError("may not be read", where=str(path), hint="check its owner and mode") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", where=repr(str(path))) from error
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
        message, line = _syntax(str(error), text)
        hint = "text needs quotes, and { … } stays on one line"
        raise ConfigError(f"not TOML: {message}", where=f"{path}:{line}" if line else str(path), hint=hint) from error


def _syntax(message: str, text: str) -> tuple[str, int]:
    """Return tomllib's message without its position, and the line (0: unknown)."""
    what, _, position = message.rpartition(" (at ")
    if position.startswith("line "):
        return what, int(position.removeprefix("line ").partition(",")[0])
    if position.startswith("end of document"):
        return what, text.rstrip("\n").count("\n") + 1
    return message, 0


def _refusal(mistakes: Sequence[Mistake], text: str, path: Path) -> ConfigError:
    lines = _Lines(text)
    told = sorted((lines.find(mistake.path), str(mistake)) for mistake in mistakes[:_MOST_TOLD])
    more = [f"{path}: and {len(mistakes) - _MOST_TOLD} more"] if len(mistakes) > _MOST_TOLD else []
    return ConfigError(
        "\n".join([f"{path}:{line}: {what}" if line else f"{path}: {what}" for line, what in told] + more)
    )


class _Lines:
    """Where a key is written, for TOML that is known to parse.

    The parser itself is the oracle: the line of a key is where the shortest prefix of the file that parses and
    has the key begins its last statement. So tables, arrays of tables, inline tables, dotted keys and strings
    over several lines need no scanner of their own. A prefix that ends inside a statement does not parse.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self._parsed = 0  # characters so far

    def find(self, path: Sequence[Step]) -> int:
        """Return the line (from 1) of the key at `path`, or of the nearest table around it; 0: takes too long."""
        whole = tomllib.loads("\n".join(self._lines))
        while path and not _has(whole, path):
            path = path[:-1]
        if not path:
            return 1
        end = bisect_left(range(len(self._lines)), x=True, key=lambda count: _has(self._prefix(count)[1], path))
        # `end` lines are the fewest with the key; the statement starts after the longest prefix without it
        line = self._prefix(end - 1)[0] + 1
        return 0 if self._parsed > _MOST_PARSED else line

    def _prefix(self, count: int) -> tuple[int, dict[str, Any]]:
        """Return the longest parsable prefix of at most `count` lines: its length and content."""
        for length in range(count, max(0, count - _MOST_LINES), -1):
            if self._parsed > _MOST_PARSED:
                break
            prefix = "\n".join(self._lines[:length])
            self._parsed += len(prefix)
            try:
                return length, tomllib.loads(prefix)
            except ValueError:
                continue
        return 0, {}


def _has(data: object, path: Sequence[Step]) -> bool:
    try:
        value_at(data, path)
    except LookupError:
        return False
    return True


def _unprintable(data: object, path: tuple[Step, ...] = ()) -> Iterator[Mistake]:
    """Yield a mistake for each text with a control character: no name, path or topic can hold one."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _unprintable(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _unprintable(value, (*path, index))
    elif isinstance(data, str) and not data.isprintable():
        yield Mistake(path, "has a character that cannot be printed", "in TOML, \\ in double quotes starts an escape")


def _homeless(settings: BaseModel, path: tuple[Step, ...] = ()) -> Iterator[Mistake]:
    """Yield a mistake for each path that begins with `~`: a daemon has no home."""
    for name, field in type(settings).model_fields.items():
        here = (*path, field.alias or name)
        value = getattr(settings, name)
        if isinstance(value, Path) and str(value).startswith("~"):
            yield Mistake(here, "~ is not expanded", "write the whole path")
        for at, inner in _inner(value, here):
            yield from _homeless(inner, at)


def _inner(value: object, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], BaseModel]]:
    if isinstance(value, BaseModel):
        yield path, value
    elif isinstance(value, tuple):
        yield from (((*path, index), item) for index, item in enumerate(value) if isinstance(item, BaseModel))


def _anchored(settings: _Model, folder: Path) -> _Model:
    """Return the settings with every relative path taken from `folder`; a bundle with a `/` is a path, too."""
    changed: dict[str, object] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Path):
            changed[name] = folder / value
        elif isinstance(value, BaseModel):
            changed[name] = _anchored(value, folder)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            changed[name] = tuple(_anchored(item, folder) for item in value)
        elif isinstance(settings, ModelSettings) and name == "bundle" and "/" in value:
            changed[name] = str(folder / value)
    return settings.model_copy(update=changed)
