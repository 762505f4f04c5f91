"""Who opens a node's database for writing: noted in every Python process of the tests, the daemon's included.

Python imports this file by itself where its folder is on PYTHONPATH; see tests/conftest.py. It needs nothing but the
standard library: a process under test may have nothing else.
"""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

NOTE = "EDGE_MONITOR_WRITERS_NOTED_IN"  # environment variable: the file that takes the complaints; it must exist
# Who may: the files of edge_monitor/store/ that hold the write thread and the checkpointing thread. Nobody else.
MAY_WRITE = ("store/writer.py", "store/checkpoints.py", "store/database_files.py")
_STORE = ("store/", "database.py")  # what opens for others is not who asked for it
_DATABASE = "edge-monitor.db"
_PACKAGE = "edge_monitor"
_STANDARD_LIBRARY = str(PurePath(os.__file__).parent)  # contextlib, threading: they are nobody


def watch() -> None:
    """Note from now on whoever opens a node's database for writing and may not. Cannot be undone."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event != "sqlite3.connect" or NOTE not in os.environ:
        return
    complaint = _complaint(arguments[0], sys._getframe(1))
    if complaint:
        note = os.open(os.environ[NOTE], os.O_WRONLY | os.O_APPEND)
        os.write(note, f"{complaint}\n".encode())
        os.close(note)


def _complaint(database: object, frame: FrameType | None) -> str:
    """Return one line about a connection that is made in `frame`; an empty text when it may be."""
    target = os.fsdecode(database) if isinstance(database, str | bytes | os.PathLike) else ""
    path, _, options = target.partition("?")
    read_only = target.startswith("file:") and "mode=ro" in options.split("&")
    if PurePath(path.removeprefix("file:")).name != _DATABASE or read_only:
        return ""
    while frame is not None:
        file = frame.f_code.co_filename
        ours = _within_package(file)
        if ours in MAY_WRITE:
            return ""
        if ours and not ours.startswith(_STORE):
            return f"edge_monitor/{ours}:{frame.f_lineno} {frame.f_code.co_name} opened {target} for writing"
        if not ours and not file.startswith((_STANDARD_LIBRARY, "<frozen ")):
            return ""  # a test, which may write into a node's database itself
        frame = frame.f_back
    return f"a thread of the store opened {target} for writing"


def _within_package(file: str) -> str:
    """Return a source file's name below the product's package; an empty text for a file of anybody else."""
    parts = PurePath(file).parts
    at = max((place for place, part in enumerate(parts) if part == _PACKAGE), default=None)
    return "" if at is None else "/".join(parts[at + 1 :])


if NOTE in os.environ:
    watch()
