"""The secrets of this box, collected so that they can be struck out of what leaves it."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.deliver.credentials import read_password
from edge_monitor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import Settings

STRUCK = "***"
_CREDENTIAL_FOLDERS = (Path("/etc/edge-monitor/credentials"), Path("/run/credentials/edge-monitor.service"))
_MOST_BYTES = 65_536
_SHORTEST = 4  # characters; a shorter one would strike out half of every text
_SHORTEST_FOREIGN = 8  # of environment variables that only sound like secrets: AUTH=true is none
_NAMED = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""(\w*(?:key|token|secret|passw)\w*)["']?\s*[=:]\s*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([^"'\s,}]+))""",
    re.IGNORECASE,
)
_POINTING = ("_file", "_credential", "_env")  # settings that say where a secret is
_IN_URL = re.compile(r"(?<=://)[^\s/@\"']+@")
_IN_QUERY = re.compile(r"(?<=://)([^\s?\"']+)\?[^\s\"']+")


class Secrets:
    """Strikes out secrets, and whatever stands in an address as user name, password or query."""

    def __init__(self, settings: Settings | None, config_path: Path) -> None:
        found = {text.strip() for text in _all(settings, config_path)}
        spelled = {spelling for text in found if len(text) >= _SHORTEST for spelling in _spellings(text)}
        self._spellings = sorted(spelled, key=len, reverse=True)

    def strike(self, text: str) -> str:
        """Return the text without them."""
        for spelling in self._spellings:
            text = text.replace(spelling, STRUCK)
        return _IN_QUERY.sub(rf"\1?{STRUCK}", _IN_URL.sub(f"{STRUCK}@", text))


def _spellings(secret: str) -> set[str]:
    """Return a secret as it stands in text, and in JSON."""
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}


def secret_files(settings: Settings) -> list[Path]:
    """Return the files that hold nothing but a secret, as the settings name them."""
    mqtt = settings.mqtt
    named = (mqtt and mqtt.password_file, mqtt and mqtt.tls and mqtt.tls.key_file, settings.explain.api_key_file)
    return [path for path in named if path]


def _all(settings: Settings | None, config_path: Path) -> Iterator[str]:
    for name, *values in _ASSIGNED.findall(_text(config_path)):  # also in comments, and where it is broken
        if not name.lower().endswith(_POINTING):
            yield from values
    yield from (value for name, value in os.environ.items() if _NAMED.search(name) and len(value) >= _SHORTEST_FOREIGN)
    folders = [*_CREDENTIAL_FOLDERS, Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))]
    files = [path for folder in folders if _readable(folder) for path in folder.iterdir() if path.is_file()]
    if settings is not None:
        if settings.mqtt is not None:
            with suppress(DeliveryError):  # what cannot be read cannot be told either
                yield read_password(settings.mqtt) or ""
        if settings.explain.api_key_env is not None:
            yield os.environ.get(settings.explain.api_key_env, "")
        files += secret_files(settings)
    for path in files:
        yield from _text(path).splitlines()


def _readable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK) and folder.is_dir()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""
