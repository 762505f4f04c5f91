"""Backing up and restoring what a node remembers: recordings, normals and generations, while it runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_monitor import __version__, clock, database
from edge_monitor.database import transaction
from edge_monitor.errors import StorageError
from edge_monitor.memory.generations import active_generation
from edge_monitor.memory.normals import NormalStore
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.service import salvage
from edge_monitor.service.backup_file import CHUNK_BYTES, FORMAT, BackedUpMachine, Manifest
from edge_monitor.service.kept_audio import KeptAudio
from edge_monitor.service.learning import require_bundle
from edge_monitor.service.operations.wire import pack_bytes, unpack_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from edge_monitor.service.node import Node

    Answer = Iterator[dict[str, Any]]

_TABLES = ("recordings", "normals", "generations", "generation_members")  # parents first
_CHECK_S = 600.0  # for the check of a copy, seconds
_SHA256 = re.compile(r"[0-9a-f]{64}")


def memory(node: Node) -> Answer:
    """Yield the manifest and size of a consistent copy of what is remembered (a SQLite file), then its bytes."""
    with node.database() as connection:  # brings its schema up to date
        machines = {machine.name: _about(connection, machine.name) for machine in node.settings.machine}
        pages = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        _require_room(node, int(pages.fetchone()[0]))
    settings = node.settings.node
    manifest = Manifest(
        format=FORMAT,
        made=clock.rfc3339(clock.now().wall_ms),
        version=__version__,
        schema_version=database.SCHEMA_VERSION,
        site=settings.site,
        node=settings.name,
        bundle=node.bundle.name,
        machines=machines,
    )
    with tempfile.TemporaryDirectory(prefix="backup-", dir=node.state_dir.path) as folder:
        path = Path(folder) / "memory.db"
        _copy(node.state_dir.database, path)
        file = path.open("rb")
    with file:  # nameless by now: it goes with this process, however that ends
        size = os.fstat(file.fileno()).st_size
        yield {"manifest": manifest.model_dump_json(), "size": size}
        yield from _contents(file)


def audio(node: Node) -> Answer:
    """Yield (machine, sha256, size) of every kept sound of a configured machine."""
    for machine in node.settings.machine:
        folder = KeptAudio.of(node, machine.name).folder
        for path in sorted(folder.glob("*.flac")):
            if _SHA256.fullmatch(path.stem) and path.is_file() and not path.is_symlink():
                yield {"machine": machine.name, "sha256": path.stem, "size": path.stat().st_size}


def sound(node: Node, *, machine: str, sha256: str) -> Answer:
    """Yield one kept sound's bytes."""
    node.machine(machine)
    try:
        with KeptAudio.of(node, machine).path(sha256).open("rb") as file:
            yield from _contents(file)
    except OSError as error:
        raise StorageError(f"a kept sound cannot be read: {error.strerror}", where=sha256) from error


def upload(node: Node, *, sha256: str, content: str, offset: int) -> Answer:
    """Take the next part of a copy that `restore` will take in; the first one drops what another left."""
    path = _uploaded(node, sha256)
    try:
        if offset == 0:
            for left in node.state_dir.path.glob("restore-*.part"):
                left.unlink(missing_ok=True)
        part = unpack_bytes(content)
        _require_room(node, len(part))
        with path.open("ab") as file:
            if file.tell() != offset:
                raise StorageError("a part of the backup is missing", where=str(path), hint="try again")
            file.write(part)
            yield {"bytes": file.tell()}
    except OSError as error:
        raise StorageError(f"the backup cannot be taken in: {error.strerror}", where=str(path)) from error


def plan(node: Node, *, machines: list[str]) -> Answer:
    """Yield, for each machine of a backup, what it would replace; `configured` False: it would be left out."""
    configured = {machine.name for machine in node.settings.machine}
    with node.database() as connection:
        for name in machines:
            about = _about(connection, name)
            yield {"machine": name, "configured": name in configured, **about.model_dump()}


def restore(node: Node, *, sha256: str, force: bool) -> Answer:
    """Take an uploaded copy in, in one transaction; yield each machine's active generation once it is in use.

    Machines that the configuration does not have are left out. Raises StorageError for a copy that is damaged, foreign
    or newer, and (unless `force`) when a machine has normals or generations already; BundleMismatchError for vectors of
    another bundle. Then everything is as before.
    """
    path = _uploaded(node, sha256)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise StorageError("the backup was not transferred whole", hint="try again")
        names = _inspect(node, path)
        numbers = _take_in(node, path, names, force=force)
    except OSError as error:
        raise StorageError(f"the backup cannot be taken in: {error.strerror}", where=str(path)) from error
    finally:
        for left in ("", "-wal", "-shm"):
            path.with_name(path.name + left).unlink(missing_ok=True)
    for name in names:
        node.generation_changed(name)
        yield {"machine": name, "generation": numbers[name]}


def _about(connection: sqlite3.Connection, machine: str) -> BackedUpMachine:
    active = active_generation(connection, machine)
    count = connection.execute("SELECT COUNT(*) FROM generations WHERE machine = ?", (machine,)).fetchone()[0]
    return BackedUpMachine(
        normals=len(NormalStore(connection, machine).ids()),
        generations=count,
        active=None if active is None else active.number,
        bundle_hash=None if active is None else active.bundle_hash,
    )


def _copy(live: Path, path: Path) -> None:
    """Write what is remembered into a new database, as of one moment, while others go on writing."""
    with closing(database.connect(path)) as connection:
        connection.execute("ATTACH DATABASE ? AS live", (str(live),))
        with transaction(connection):
            for table in _TABLES:
                columns = _columns(connection, table)
                connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM live.{table}")  # noqa: S608 - names of this file
        connection.execute("DETACH DATABASE live")
        connection.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it
        wrong = salvage.check(connection, limit_s=_CHECK_S)
    if wrong != "":
        raise StorageError(f"the copy {_judgement(wrong)}", hint="`edge-monitor doctor` checks database and disk")


def _judgement(wrong: str | None) -> str:
    """Return what is to be said of a copy after `salvage.check`."""
    return f"was not checked within {_CHECK_S:.0f} s" if wrong is None else f"is damaged: {wrong}"


def _inspect(node: Node, path: Path) -> list[str]:
    """Return the configured machines of an uploaded copy, once it has been found sound, known and usable."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            wrong = salvage.check(connection, limit_s=_CHECK_S)
        if wrong != "":
            raise StorageError(f"the backup's memory {_judgement(wrong)}", hint="use another backup")
        with closing(database.connect(path)) as connection, closing(sqlite3.connect(":memory:")) as fresh:
            database.prepare(fresh, "memory")
            if _schema(connection) != _schema(fresh) or connection.execute("PRAGMA foreign_key_check").fetchall():
                raise StorageError("not a backup's memory: its tables are others", hint="use another backup")
            found = {row[0] for table in _TABLES[:3] for row in connection.execute(f"SELECT machine FROM {table}")}  # noqa: S608 - names of this file
            names = [machine.name for machine in node.settings.machine if machine.name in found]
            for name in names:
                _try(node, connection, name, path.parent)
            connection.execute("PRAGMA journal_mode=DELETE")
    except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
        raise StorageError(f"the backup's memory cannot be used: {error}", hint="use another backup") from error
    return names


def _try(node: Node, connection: sqlite3.Connection, machine: str, folder: Path) -> None:
    """Load a machine's active generation from the copy, as the daemon will. Raises EdgeMonitorError."""
    active = active_generation(connection, machine)
    if active is None:
        return
    require_bundle(node, machine, active.bundle_hash)
    scorer = load_scorer(connection, machine, folder, build=False)
    if scorer is not None and scorer.dimension != node.bundle.manifest.audio.dim:
        raise StorageError("the backup's vectors have another length than the bundle's", where=machine)


def _take_in(node: Node, path: Path, names: Sequence[str], *, force: bool) -> dict[str, int | None]:
    """Replace what is known of these machines; return the number of each one's active generation.

    Neither ids nor numbers are used twice: waiting explanations name normals, alarms name generations.
    """
    numbers: dict[str, int | None] = {}
    with node.database() as connection:
        connection.execute("ATTACH DATABASE ? AS backup", (str(path),))
        with transaction(connection):
            for name in names:
                if _known(connection, name) and not force:
                    raise StorageError("has normals already", where=name, hint="--force replaces them")
                _replace(connection, name)
                active = active_generation(connection, name)
                numbers[name] = None if active is None else active.number
        connection.execute("DETACH DATABASE backup")
    return numbers


def _known(connection: sqlite3.Connection, machine: str) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM main.recordings WHERE machine = ?1) OR EXISTS (SELECT 1 FROM main.generations"
    return bool(connection.execute(f"{query} WHERE machine = ?1)", (machine,)).fetchone()[0])


def _replace(connection: sqlite3.Connection, machine: str) -> None:
    add = {
        "recordings": {"id": _highest(connection, "SELECT MAX(id) FROM main.recordings")},
        "normals": {"id": _highest(connection, "SELECT MAX(id) FROM main.normals")},
        "generations": {
            "number": _highest(connection, "SELECT MAX(number) FROM main.generations WHERE machine = ?", machine)
        },
    }
    add["normals"]["recording_id"] = add["recordings"]["id"]
    add["generation_members"] = {"number": add["generations"]["number"], "normal_id": add["normals"]["id"]}
    for table in ("generations", "recordings"):  # what belongs to them goes with them
        connection.execute(f"DELETE FROM main.{table} WHERE machine = ?", (machine,))  # noqa: S608 - names of this file
    for table in _TABLES:
        columns = _columns(connection, table)
        values = ", ".join(
            f"{column} + {add[table][column]}" if column in add[table] else column for column in columns.split(", ")
        )
        connection.execute(
            f"INSERT INTO main.{table} ({columns}) SELECT {values} FROM backup.{table} WHERE machine = ?",  # noqa: S608 - names of the schema
            (machine,),
        )


def _highest(connection: sqlite3.Connection, query: str, *values: str) -> int:
    return int(connection.execute(query, values).fetchone()[0] or 0)


def _columns(connection: sqlite3.Connection, table: str) -> str:
    return ", ".join(row["name"] for row in connection.execute(f"PRAGMA main.table_info({table})"))


def _schema(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    return {tuple(row) for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")}


def _contents(file: BinaryIO) -> Answer:
    while chunk := file.read(CHUNK_BYTES):
        yield {"content": pack_bytes(chunk)}


def _uploaded(node: Node, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise StorageError("not a SHA-256", where=sha256[:80])
    return node.state_dir.path / f"restore-{sha256}.part"


def _require_room(node: Node, size: int) -> None:
    """Raise StorageError when so many bytes more would leave too little room for alarms."""
    keep_mb = node.settings.retention.free_mb
    if shutil.disk_usage(node.state_dir.path).free - size < keep_mb * 1_000_000:
        raise StorageError(f"this would leave less than {keep_mb} MB free", where=str(node.state_dir.path),
                           hint="make room; retention.free_mb sets the limit")  # fmt: skip
