"""What somebody who helps from afar needs to know of a node: no sound, no pictures, no secrets."""

from __future__ import annotations

import json
import platform
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edge_monitor import __version__, clock
from edge_monitor.config.file import load_settings
from edge_monitor.doctor.running import ask_status
from edge_monitor.doctor.secrets import Secrets
from edge_monitor.doctor.storage import may_enter
from edge_monitor.errors import ConfigError, EdgeMonitorError
from edge_monitor.store import database
from edge_monitor.store.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from edge_monitor.config.settings import Settings
    from edge_monitor.doctor.finding import Finding

_LOG_LINES = 5000
_TABLES = ("recordings", "normals", "generations", "alarms", "outbox", "explanations", "score_minutes", "score_rollups")


def collect(config_path: Path, findings: Iterable[Finding]) -> dict[str, bytes]:
    """Return the bundle's files by name, every one with the box's secrets struck out.

    What cannot be had is told in its place; nothing is raised for it.
    """
    settings = None
    try:
        settings = load_settings(config_path)
    except ConfigError as error:
        configuration: Any = {"mistakes": str(error).splitlines()}
    else:
        configuration = _configuration(settings)
    files = {
        "about.json": _json(_about()),
        "config.json": _json(configuration),
        "doctor.json": _json([asdict(finding) for finding in findings]),
        "log.txt": _log(),
    }
    if settings is not None:
        state_dir = StateDir.of(settings.node)
        files["status.json"] = _json(_or_why(lambda: _status(state_dir)))
        files["database.json"] = _json(_or_why(lambda: _as_owner(state_dir, lambda: _database(state_dir))))
        files["files.json"] = _json(_or_why(lambda: _as_owner(state_dir, lambda: list(_files(state_dir)))))
    secrets = Secrets(settings, config_path)
    return {name: secrets.strike(text).encode() for name, text in files.items()}


def _status(state_dir: StateDir) -> dict[str, Any]:
    status = ask_status(state_dir.control_socket)
    return {"running": False} if status is None else status.model_dump(mode="json", exclude_unset=True)


def _about() -> dict[str, Any]:
    return {
        "edge_monitor": __version__,
        "made": clock.rfc3339(clock.now().wall_ms),
        "clock_synchronized": clock.synchronized(),
        "schema_version": database.SCHEMA_VERSION,
        "python": sys.version,
        "system": platform.platform(),
        "processor": platform.machine(),
        "packages": {each.name: each.version for each in sorted(distributions(), key=lambda each: each.name.lower())},
    }


def _configuration(settings: Settings) -> dict[str, Any]:
    """Return the settings; passwords mask themselves, and of the LLM's address only the host is told."""
    shown = settings.model_dump(mode="json", by_alias=True)
    if settings.explain.base_url is not None:
        shown["explain"]["base_url"] = f"{urlsplit(settings.explain.base_url).hostname} (host only)"
    return shown


def _database(state_dir: StateDir) -> dict[str, Any]:
    if not state_dir.database.exists():
        return {"path": str(state_dir.database), "exists": False}
    with closing(database.connect(state_dir.database, read_only=True)) as connection:
        present = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        # Whatever columns its schema has, but for the statistics.
        generations = [
            {name: value for name, value in dict(row).items() if not isinstance(value, bytes)}
            for row in connection.execute("SELECT * FROM generations ORDER BY machine, number")
        ]
        return {
            "schema_version": connection.execute("PRAGMA user_version").fetchone()[0],
            "rows": {
                table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of this file
                for table in _TABLES
                if table in present
            },
            "counters": dict(connection.execute("SELECT name, value FROM counters").fetchall()),
            "generations": [{**row, "calibration": json.loads(row["calibration"])} for row in generations],
            "parked": [
                dict(row)
                for row in connection.execute(
                    "SELECT topic, alarm_id, seq, created_ms, parked_reason FROM outbox WHERE parked_reason IS NOT NULL"
                    " ORDER BY id LIMIT 100"
                )
            ],
        }


def _files(state_dir: StateDir) -> Iterator[dict[str, Any]]:
    """Yield name and size of what lies in the state directory; nothing of what is in it."""
    for path in sorted(state_dir.path.rglob("*")):
        about = path.lstat()
        if path.is_file() and not path.is_symlink():
            yield {"name": str(path.relative_to(state_dir.path)), "bytes": about.st_size, "mode": oct(about.st_mode)}


def _log() -> str:
    journal = shutil.which("journalctl")
    if journal is None:
        return "there is no journal here\n"
    command = [journal, "--unit", "edge-monitor", "--lines", str(_LOG_LINES), "--no-pager", "--output", "short-iso"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the journal cannot be read: {type(error).__name__}\n"
    return (done.stdout or done.stderr).decode("utf-8", errors="replace")


def _as_owner(state_dir: StateDir, look: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is looked up
    if not state_dir.path.is_dir() or not may_enter(state_dir):
        return {"missing": "no state directory, or this user may not look into it"}
    with state_dir.as_owner():
        return look()


def _or_why(look: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is looked up
    try:
        return look()
    except (EdgeMonitorError, OSError, ValueError, sqlite3.Error) as error:
        return {"missing": str(error)}


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
