"""Secrets where an administrator keeps them: a file, a systemd credential, an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

from edge_monitor.errors import ConfigError


def from_file(path: Path, *, key: str) -> str:
    """Return a file's first line; `key` is the setting that names it.

    Raises ConfigError, never showing the secret, when it cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot be used: {error.strerror}", where=str(path), hint=f"check {key}") from error
    except UnicodeDecodeError:
        raise ConfigError("cannot be used: not a text file", where=str(path), hint=f"check {key}") from None
    if not lines or not lines[0]:
        raise ConfigError("its first line is empty", where=str(path), hint=f"check {key}")
    return lines[0]


def from_credential(name: str, *, key: str) -> str:
    """Return what systemd passes as the credential `name` (LoadCredential=). Raises ConfigError as `from_file`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise ConfigError(
            "systemd passed no credentials", where=key, hint=f"add LoadCredential={name}:FILE to the unit"
        )
    return from_file(Path(folder) / name, key=f"LoadCredential= in the unit, and {key}")


def from_environment(name: str, *, key: str) -> str:
    """Return an environment variable. Raises ConfigError when it is not set or empty."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"the environment variable {name} is not set", where=key)
    return value
