"""The doctor on the state directory: its room, its database, and who may read it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_monitor.counting import counted
from edge_monitor.deliver.outbox import BYTES, DUE, HELD, SENT
from edge_monitor.doctor.finding import Finding, fail, ok, warn
from edge_monitor.doctor.secrets import secret_files
from edge_monitor.store import database, recovery
from edge_monitor.store.counters import BELIEVED_MS, REMOVED_BY_AGE, TRIED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.config.settings import Settings
    from edge_monitor.store.state_dir import StateDir

_TRIED_BYTES = 1_000_000
_SLOW_S = 1.0
_FEW_FILES = 1000
_OTHERS = 0o007
_GROUP_AND_OTHERS = 0o077
_NAMED = 3  # files named in one line
# What the database counts besides losses: what went well, and what it holds now.
_NO_LOSS = (SENT, BELIEVED_MS, DUE, f"{DUE}_explanations", HELD, BYTES, REMOVED_BY_AGE, TRIED)


def may_enter(state_dir: StateDir) -> bool:
    """Return whether this user may look into the state directory."""
    return os.access(state_dir.path, os.R_OK | os.X_OK, effective_ids=True)


def look_at_disk(settings: Settings, state_dir: StateDir) -> Iterator[Finding]:
    """Yield how much room there is, and whether a file can be written and made durable."""
    usage, free_mb = shutil.disk_usage(state_dir.path), settings.retention.free_mb
    left_mb = usage.free // 1_000_000
    room = f"{left_mb} MB free of {usage.total // 1_000_000} MB"
    advice = f"make room below {state_dir.path}, or lower retention.evidence_max_mb"
    written = _try_to_write(state_dir.path)
    if left_mb < free_mb // 4 and written.result == "fail":
        yield replace(written, text=f"{written.text}; {room}", hint=advice)
        return
    if left_mb < free_mb // 4:
        yield fail(f"nearly full: {room}", advice)
    elif left_mb < free_mb:
        yield warn(f"{room}: evidence stops below {free_mb} MB (retention.free_mb)", advice)
    else:
        yield ok(room)
    files = os.statvfs(state_dir.path)
    if files.f_files and files.f_favail < _FEW_FILES:
        yield fail(f"only {files.f_favail} more files fit (inodes)", "remove small files")
    yield written


def _try_to_write(folder: Path) -> Finding:
    began_s = time.monotonic()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        hint = "run as the directory's owner" if isinstance(error, PermissionError) else "see `dmesg` and `df`"
        return fail(f"{folder}: nothing can be written: {error.strerror}", hint)
    took_s = time.monotonic() - began_s
    if took_s > _SLOW_S:
        return warn(f"1 MB takes {took_s:.1f} s to become durable", "a worn-out or slow card?")
    return ok(f"1 MB becomes durable in {took_s * 1000:.0f} ms")


def look_at_database(state_dir: StateDir) -> Iterator[Finding]:
    """Yield whether the database is sound and of this version's schema."""
    path = state_dir.database
    if not path.exists():
        yield warn(f"{path}: there is none yet", "`edge-monitor enroll` or `run` makes it")
        return
    with closing(recovery.opened(path)) as connection:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if wrong := recovery.check(connection):
            yield fail(f"{path}: damaged: {wrong}", "restart the daemon: it saves what can be read")
            return
        if database.is_empty(connection):
            yield warn(
                f"{path}: empty, it has no tables yet",
                "the daemon makes them; `edge-monitor restore` brings back what was enrolled",
            )
            return
        if version < database.SCHEMA_VERSION:
            yield warn(
                f"{path}: schema {version}, to be {database.SCHEMA_VERSION}",
                "the daemon brings it up to date when it starts",
            )
            return
        counters = dict(connection.execute("SELECT name, value FROM counters WHERE value > 0").fetchall())
        lost = {name: value for name, value in counters.items() if name not in _NO_LOSS}
        parked = connection.execute("SELECT COUNT(*), MAX(parked_reason) FROM outbox WHERE parked_reason IS NOT NULL")
        count, reason = parked.fetchone()
    size_mb = path.stat().st_size / 1e6
    if wrong is None:
        yield warn(
            f"{path}: not checked within {recovery.LIMIT_S:g} s, {size_mb:.1f} MB",
            "a busy or slow disk, or a large database: try again when the box is idle",
        )
    else:
        yield ok(f"{path}: sound, schema {version}, {size_mb:.1f} MB")
    if count:
        yield warn(
            f"{counted(count, 'message')} parked, which the broker refused: {reason}", "see the findings on topics"
        )
    if lost:
        told = ", ".join(f"{name} {value}" for name, value in sorted(lost.items()))
        yield warn(f"lost since the beginning: {told}", "docs/reliability.md says what counts")


def look_at_permissions(settings: Settings, state_dir: StateDir, config_path: Path) -> Iterator[Finding]:
    """Yield whether only their owner can read state and secrets."""
    wrong, foreign = _out_of_order(state_dir)
    if wrong:
        yield fail(f"others can read {_named(wrong)}", f"chmod 710 {state_dir.path}")
    if foreign:
        yield fail(
            f"not its owner's: {_named(foreign)}",
            f"chown -R --reference={state_dir.path} {state_dir.path} {state_dir.runtime}",
        )
    secrets = secret_files(settings)
    if settings.mqtt is not None and settings.mqtt.password is not None:
        secrets.append(config_path)
    readable = [str(path) for path in secrets if _others_can_read(path)]
    if readable:
        yield fail(f"everybody can read a secret in {_named(readable)}", "chmod o-rwx, and change the secret")
    if not (wrong or foreign or readable):
        yield ok("state and secrets are closed to others")


def _out_of_order(state_dir: StateDir) -> tuple[list[str], list[str]]:
    """Return what others can read of the state, and what is not its owner's."""
    folder = state_dir.path.stat()
    wrong, foreign = [], []
    if folder.st_mode & (_OTHERS | 0o060):  # the group may pass through to the socket, and see nothing
        wrong.append(f"{state_dir.path} (mode {stat.S_IMODE(folder.st_mode):04o})")
    elsewhere = (state_dir.runtime, state_dir.path / "models")  # bundles hold no secret, and may be root's
    for path in sorted(state_dir.path.rglob("*")):
        if path.is_symlink() or any(path.is_relative_to(other) for other in elsewhere):
            continue
        about = path.stat()
        if about.st_mode & _GROUP_AND_OTHERS and folder.st_mode & _OTHERS:
            wrong.append(f"{path} (mode {stat.S_IMODE(about.st_mode):04o})")
        if about.st_uid != folder.st_uid:
            foreign.append(str(path))
    if state_dir.runtime.exists() and state_dir.runtime.stat().st_uid != folder.st_uid:
        foreign.append(str(state_dir.runtime))  # the daemon could not make its socket
    return wrong, foreign


def _others_can_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # whoever needs the file says that it is not there


def _named(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")
