"""Recovery: a damaged database is set aside, and a new one with all that can be read of it put in its place."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.errors import DiskError
from edge_monitor.store import database
from edge_monitor.store.database_files import beside, remove_database, stamp, swap
from edge_monitor.store.log_file import PAGE_BYTES
from edge_monitor.store.salvage import in_memory, readable, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from edge_monitor.store.salvage import Readable

LIMIT_S = 10.0  # for the check of a database that somebody waits for, seconds
_KEPT_DAMAGED = 3  # damaged files kept for whoever wants to look; the oldest go first
_WAIT_S = 5.0  # for others to close the file
_LATE_S = 10.0  # longer than anybody waits for a lock: database.connect and Python's default wait 5 s
_LOCKS = ((0x40000000, 1), (0x40000001, 511))  # SQLite's pending, then reserved and shared bytes: (first, bytes)
_LOG_HEADER_BYTES = 32
_MOST_PADDED = 1 << 28  # bytes: what a header says may be anything
_REST_S, _STEPS = 0.005, 5000  # of a check: rests at leisure, and SQLite's steps between two, some milliseconds
_FRAME_BYTES = 24 + PAGE_BYTES  # number, size of the database if it ends a commit, salts, checksum; then the page


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a damaged database."""

    rows: int  # saved
    incomplete: tuple[str, ...]  # tables of which rows were lost
    kept_as: str  # name of the damaged file, below the state directory

    def __str__(self) -> str:
        """Return one line for a person."""
        lost = f"some were lost of {', '.join(self.incomplete)}" if self.incomplete else "none was found missing"
        return f"the database was damaged and has been rebuilt: {self.rows} rows saved, {lost}; see {self.kept_as}"


def check(
    connection: sqlite3.Connection, *, table: str | None = None, give_up: Callable[[], bool] | None = None
) -> str | None:
    """Return what SQLite finds wrong with a database, or a table: an empty text when nothing; None when ended before.

    It may take LIMIT_S, or as long as `give_up` lets it: then it is made at leisure, and rests half the time.
    Raises sqlite3.Error when the disk does not let it be read.
    """
    end_s = clock.now().monotonic_s + LIMIT_S

    def ended() -> bool:
        if give_up is None:
            return clock.now().monotonic_s > end_s
        time.sleep(_REST_S)
        return give_up()

    checked = f"'{table}'" if table else "3"  # up to three faults of all tables
    connection.set_progress_handler(ended, _STEPS)
    try:
        found = [row[0] for row in connection.execute(f"PRAGMA quick_check({checked})")]
    except sqlite3.DatabaseError as error:
        if database.is_interrupted(error):
            return None
        if not database.is_damage(error):
            raise
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return "" if found == ["ok"] else "; ".join(found)


# --- copies ---------------------------------------------------------------------------------------------------------


def opened(path: Path) -> sqlite3.Connection:
    """Return a database to be looked at: in its place, or as a copy in memory while the disk takes nothing.

    Raises StorageError and its kinds, sqlite3.Error when the copy is damaged.
    """
    try:
        return database.connect(path, read_only=True)
    except DiskError:
        return copy_in_memory(path, mended=False)


def copy_in_memory(path: Path, *, mended: bool = True) -> sqlite3.Connection:
    """Return a copy in memory that can be read and not written, for a disk that takes nothing.

    `mended`: a damaged one is read as far as it goes, an older one is of the newest schema; otherwise it is as it was
    found. Takes up to four times the file in memory. This process has no connection to the file: reading it would end
    that one's locks (sqlite.org/howtocorrupt.html, 2.2). Raises DiskError when the file cannot be read, sqlite3.Error
    when it is damaged and not to be mended.
    """
    if beside(path, ".rebuilt").exists():  # of a crash before it was put in place: it has more than what is left there
        path = beside(path, ".rebuilt")
    image = b""
    try:
        if path.exists():
            with path.open("rb") as file:
                image = _image(file, beside(path, "-wal"))
    except OSError as error:
        raise DiskError(f"the database cannot be read: {error}", where=str(path)) from error
    connection = in_memory(image)
    try:
        if mended and image and check(connection):
            connection.close()
            connection = in_memory()
            with readable(image) as source:
                save(source, connection)
        database.prepare(connection, str(path), read_only=not mended)
        connection.execute("PRAGMA query_only=ON")
    except BaseException:  # whatever ends it, a signal too: the copy is tens of MB that nobody would use
        connection.close()
        raise
    return connection


def _image(file: BinaryIO, log: Path) -> bytes:
    """Return a database as its file and its log have it. Raises OSError.

    SQLite applies the log to a copy: closing the only connection does that, whatever the first page is like.
    """
    log_bytes = log.stat().st_size if log.exists() else 0
    with _scratch(os.fstat(file.fileno()).st_size + log_bytes) as copy:
        with copy.open("w+b") as target:
            shutil.copyfileobj(file, target)
            if log_bytes:  # SQLite applies none to a file that has been cut far shorter than its header says
                target.seek(28)
                told = int.from_bytes(target.read(4), "big") * PAGE_BYTES
                size = target.seek(0, os.SEEK_END)
                target.truncate(max(size, min(told, size + _MOST_PADDED)))
        if log_bytes:
            shutil.copyfile(log, beside(copy, "-wal"))
        with closing(sqlite3.connect(copy)) as connection, suppress(sqlite3.Error):
            connection.execute("PRAGMA user_version")
        if beside(copy, "-wal").exists():
            raise OSError("no room to apply the log")
        return copy.read_bytes()


@contextmanager
def _scratch(size: int) -> Iterator[Path]:
    """Make a folder for the body, in memory if so many bytes fit twice; yield where a database may lie in it."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made there is this process's alone
    fits = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * size
    place = memory if fits else Path(tempfile.gettempdir())
    for left in place.glob("edge-monitor-*-copy-*"):  # by a process that was killed
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"edge-monitor-{os.getpid()}-copy-", dir=place) as folder:
        yield Path(folder) / "copy.db"


# --- the log: sqlite.org/fileformat2.html#walformat, sqlite.org/walformat.html ---------------------------------------


def unreadable_log_pages(path: Path) -> int:
    """Return how many pages at the end of the last run's log SQLite will not read, before it opens the database.

    They were committed, or just being so when the power went: the log cannot tell. Raises OSError.
    """
    try:
        data = beside(path, "-wal").read_bytes()
    except FileNotFoundError:
        return 0
    frames = [data[at : at + 16] for at in range(_LOG_HEADER_BYTES, len(data) - _FRAME_BYTES + 1, _FRAME_BYTES)]
    if not frames:
        return 0
    salts = {data[16:24], frames[0][8:]}
    if int.from_bytes(data[16:20], "big") == int.from_bytes(frames[0][8:12], "big") + 1:
        salts.remove(frames[0][8:])  # the log was begun anew: what follows its header is of an older one
    last = max((n for n, frame in enumerate(frames, 1) if frame[8:] in salts and any(frame[4:8])), default=0)
    with _scratch(len(data)) as copy:
        copy.write_bytes(bytes(_FRAME_BYTES))  # any file will do: how much SQLite reads of a log is in the log's index
        beside(copy, "-wal").write_bytes(data)
        with closing(sqlite3.connect(copy)) as connection:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA user_version")
            readable_pages = int.from_bytes(beside(copy, "-shm").read_bytes()[16:20], sys.byteorder)
    return max(0, last - readable_pages)


def set_aside(path: Path) -> str:
    """Keep a copy of the log before SQLite writes over it; return the copy's name. Raises OSError."""
    log = beside(path, "-wal")
    copy = beside(log, f".damaged-{stamp(clock.now().wall_ms)}")
    shutil.copyfile(log, copy)
    _forget_oldest(log)
    return copy.name


def leave_log(path: Path) -> None:
    """Set the log of a file that is gone aside: it must not be applied to whatever comes in its place."""
    with suppress(OSError):
        set_aside(path)
    for suffix in ("-wal", "-shm"):
        beside(path, suffix).unlink(missing_ok=True)


# --- the swap -------------------------------------------------------------------------------------------------------


def rebuild(path: Path) -> Tally:
    """Put a new database in the place of a damaged one, with every row that can be read; keep the damaged files.

    This process has no connection to it. Raises DiskError; then all is as before, or `finish` will go on with it.
    """
    finish(path)
    fresh = beside(path, ".new")
    try:
        with _alone(path) as file:
            with readable(_image(file, beside(path, "-wal"))) as source:
                rows, incomplete = _write(source, fresh)
            fresh.replace(beside(path, ".rebuilt"))  # from here on it counts, also after a crash
            kept = _swap(path)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            remove_database(fresh)
        raise DiskError(
            f"the damaged database cannot be rebuilt now: {error}", where=str(path), hint="make room on the disk"
        ) from error
    return Tally(rows, incomplete, kept)


def finish(path: Path) -> None:
    """Complete or discard what a crash left of `rebuild`; whoever may write calls it before the database is opened.

    Raises DiskError.
    """
    with suppress(OSError):  # it is in nobody's way
        remove_database(beside(path, ".new"))
    if not beside(path, ".rebuilt").exists():
        return
    try:
        with _alone(path) if path.exists() else nullcontext():
            _swap(path)
    except OSError as error:
        raise DiskError(f"a rebuilt database cannot be put in place: {error}", where=str(path)) from error


def _write(source: Readable, fresh: Path) -> tuple[int, tuple[str, ...]]:
    """Save what can be read into a new file, and see that it is whole and durable."""
    with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode=MEMORY")  # a crash discards it
        target.execute("PRAGMA synchronous=OFF")
        saved = save(source, target)
        found = [row[0] for row in target.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            raise sqlite3.DatabaseError(f"what was written is damaged again: {found[0]}")
        target.execute("PRAGMA journal_mode=WAL")  # whoever opens it first need not be alone for that
    with fresh.open("r+b") as file:
        os.fsync(file.fileno())
    return saved


def _swap(path: Path) -> str:
    """Put the rebuilt database in its place, as often as a crash comes between; return the damaged one's new name."""
    rebuilt = beside(path, ".rebuilt")
    damaged = beside(path, f".damaged-{stamp(int(rebuilt.stat().st_mtime * 1000))}")
    swap(path, rebuilt, damaged)
    _forget_oldest(path)
    return damaged.name


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """Hold SQLite's exclusive lock on a file for the body, whatever its content. Raises DiskError, OSError.

    Who opened it meanwhile waits for the lock, and would then take the new file's log for this one's. So the lock is
    held until they have given up.
    """
    end_s = clock.now().monotonic_s + _WAIT_S
    with ExitStack() as stack:
        file = stack.enter_context(path.open("r+b"))
        for first, size in _LOCKS:
            while not _locked(file, first, size):
                if clock.now().monotonic_s > end_s:
                    raise DiskError(
                        "the damaged database cannot be replaced: another process has it open",
                        where=str(path),
                        hint=f"`fuser {path}` names it",
                    )
                time.sleep(0.01)
        yield file
        timer = threading.Timer(_LATE_S, stack.pop_all().close)
        timer.daemon = True
        timer.start()


def _locked(file: BinaryIO, first: int, size: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, size, first)
    except BlockingIOError:
        return False
    return True


def _forget_oldest(path: Path) -> None:
    found = [each for each in sorted(path.parent.glob(f"{path.name}.damaged-*")) if not each.name.endswith("-wal")]
    for old in found[:-_KEPT_DAMAGED]:
        remove_database(old)
