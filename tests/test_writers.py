"""One writer: nothing but the store opens a node's database for writing, and the audit of all tests would see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.sitecustomize import MAY_WRITE, NOTE

REPOSITORY = Path(__file__).parent.parent
_OPEN = """
import sqlite3
from contextlib import contextmanager

def opened(target):
    sqlite3.connect(target, uri=True).close()

@contextmanager
def opening(target):
    opened(target)
    yield
"""
_ASK = "from {module} import opening\ndef ask(target):\n    with opening(target):\n        pass\n"


def noted(folder: Path, file: str, target: str) -> str:
    """Let a file of a made-up product open `target` through its store; return what the audit noted."""
    for name, content in {
        "__init__.py": "",
        "store/database.py": _OPEN,
        "store/readers.py": _ASK.format(module="edge_monitor.store.database"),
        **{name: _ASK.format(module="edge_monitor.store.database") for name in MAY_WRITE},
        "service/backup.py": _ASK.format(module="edge_monitor.store.database"),
    }.items():
        path = folder / "edge_monitor" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    note = folder / "note"
    note.touch()
    module = f"edge_monitor.{file.removesuffix('.py').replace('/', '.')}"
    asked = f"threading.Thread(target={module}.ask, args=({target!r},))"
    code = f"import threading, {module}; thread = {asked}; thread.start(); thread.join()"
    path_variable = os.pathsep.join([str(folder), str(REPOSITORY / "tests/audit")])
    environment = {**os.environ, "PYTHONPATH": path_variable, "PYTHONSAFEPATH": "1", NOTE: str(note)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, check=True, timeout=60)
    return note.read_text()


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("store/writer.py", ""),
        ("store/checkpoints.py", ""),
        ("store/readers.py", "a thread of the store opened edge-monitor.db for writing\n"),
        ("service/backup.py", "edge_monitor/service/backup.py:3 ask opened edge-monitor.db for writing\n"),
    ],
)
def test_whoever_opens_the_database_for_writing_is_noted(tmp_path: Path, file: str, complaint: str) -> None:
    """The write thread and the checkpointing thread may, through whatever they call; everybody else is told of."""
    assert noted(tmp_path, file, "edge-monitor.db") == complaint


@pytest.mark.parametrize("target", ["file:edge-monitor.db?mode=ro&cache=private", "file:other.db"])
def test_reading_it_and_writing_other_files_is_nobodys_business(tmp_path: Path, target: str) -> None:
    """A reader says mode=ro; a backup or a rebuilt database has another name until it is complete."""
    (tmp_path / "edge-monitor.db").touch()
    assert noted(tmp_path, "service/backup.py", target) == ""


def test_nothing_but_the_store_attaches_a_database() -> None:
    """ATTACH opens a file as its connection may, for writing too, and no audit hears of it."""
    package = REPOSITORY / "edge_monitor"
    attaching = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if _attaches(path)}
    assert {name for name in attaching if not name.startswith("store/")} == set()


def _attaches(path: Path) -> bool:
    return "ATTACH DATABASE" in path.read_text("utf-8").replace("DETACH DATABASE", "")
