"""A node's state directory: its paths, its owner, and the lock that says who may write."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_monitor.errors import StateDirInUseError, StorageError, os_errors_as
from edge_monitor.store.database import FILE_NAME
from edge_monitor.store.database_files import remove_unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import NodeSettings

_MAX_SOCKET_PATH = 107  # bytes, unix(7)
PRIVATE_UMASK = 0o077  # whoever works on a state directory keeps what it holds to its owner


def make_state_dir(path: Path) -> None:
    """Make the folder if it is missing: the group may pass through to the control socket, and see nothing.

    Raises OSError.
    """
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o710)


@dataclass(frozen=True, slots=True)
class StateDir:
    """The folders of one node."""

    path: Path
    runtime: Path

    @classmethod
    def of(cls, node: NodeSettings) -> StateDir:
        """Take the folders from the settings."""
        return cls(path=node.state_dir, runtime=node.runtime_dir or node.state_dir / "run")

    @property
    def database(self) -> Path:
        """Return the path of the SQLite file."""
        return self.path / FILE_NAME

    @property
    def evidence(self) -> Path:
        """Return the folder of pictures and sound clips."""
        return self.path / "evidence"

    @property
    def control_socket(self) -> Path:
        """Return the path of the daemon's control socket."""
        return self.runtime / "control.sock"

    def create(self) -> None:
        """Make the folders, private to their owner (the runtime folder is open to the owner's group).

        What root makes belongs to the state directory's owner, who is to run the daemon. Raises StorageError when the
        folder cannot be made or written.
        """
        try:
            make_state_dir(self.path)
            if self.runtime.is_relative_to(self.path):
                with self.as_owner():  # who may have put links there
                    self._make_runtime()
            else:
                for made in self._make_runtime():
                    self._give_to_owner(made)
        except OSError as error:
            if self.path.exists() and error.errno in {errno.ENOSPC, errno.EROFS}:
                return  # whoever needs the runtime folder says so
            raise StorageError(
                f"cannot make the state directory: {error.strerror}",
                where=str(error.filename),
                hint="set node.state_dir to a folder you may write, or run as its owner",
            ) from error
        if len(os.fsencode(self.control_socket)) > _MAX_SOCKET_PATH:
            raise StorageError(
                "the path is too long for a socket",
                where=str(self.control_socket),
                hint=f"set node.runtime_dir to one of at most {_MAX_SOCKET_PATH - 13} bytes",
            )
        read_only = os.statvfs(self.path).f_flag & os.ST_RDONLY  # a fault to live with, unlike a folder of others
        if not read_only and not os.access(self.path, os.W_OK | os.X_OK, effective_ids=True):
            raise StorageError(
                "the state directory is not writable",
                where=str(self.path),
                hint="run as its owner, or join its group while the daemon runs",
            )

    def _make_runtime(self) -> list[Path]:
        """Make the runtime folder; return the folders that were missing."""
        missing = [folder for folder in (self.runtime, *self.runtime.parents) if not folder.exists()]
        if missing:
            self.runtime.mkdir(parents=True)
            self.runtime.chmod(0o750)
        return missing

    def _give_to_owner(self, folder: Path) -> None:
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def refuse_to_run_as_somebody_else(self) -> None:
        """Refuse to leave files of root's in another user's directory, which that user could not write."""
        owner = self.path.stat().st_uid
        if os.geteuid() == 0 and owner != 0:
            raise StorageError(
                f"the state directory belongs to user {owner}, not to root",
                where=str(self.path),
                hint=f"run the daemon as that user, e.g. sudo -u '#{owner}' edge-monitor run",
            )

    def require_room(self, size: int, keep_mb: int) -> None:
        """Raise StorageError when `size` bytes more would leave less than `keep_mb` MB, which alarms may need."""
        if shutil.disk_usage(self.path).free - size < keep_mb * 1_000_000:
            raise StorageError(
                f"this would leave less than {keep_mb} MB free",
                where=str(self.path),
                hint="make room; retention.free_mb sets the limit",
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory alone, without what others left unfinished of their snapshots and restores.

        The kernel lets go when the process ends, however it ends.
        Raises StateDirInUseError at once when another process holds it, StorageError when it cannot be locked.
        """
        path = self.path / "lock"
        hint = "run as the directory's owner"
        with os_errors_as(StorageError, "cannot lock the state directory", where=path, hint=hint):
            descriptor = self._open_lock(path)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateDirInUseError(
                    "another edge-monitor works on this state directory",
                    where=str(self.path),
                    hint="wait for it to end, or stop it",
                ) from error
            with suppress(OSError):  # a disk that takes nothing is lived with
                remove_unfinished(self.database)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, path: Path) -> int:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EROFS}:
                raise
        # Nothing can be made: what is there, if only the folder, can still be locked.
        return os.open(path if path.exists() else self.path, os.O_RDONLY | os.O_CLOEXEC)

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """Work as the directory's owner when root does: what is written must stay writable for the daemon.

        Raises StorageError when the owner cannot read the program, parts of which are loaded when they are needed.
        """
        owner = self.path.stat()
        if os.geteuid() != 0 or owner.st_uid == 0:
            yield
            return
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        try:
            for file in (__file__, structlog.__file__):  # the program's folder, and that of the packages it needs
                if not os.access(file, os.R_OK, effective_ids=True):
                    raise StorageError(
                        f"user {owner.st_uid}, who owns the state directory, cannot read the program",
                        where=str(Path(file).parent),
                        hint="install it where everybody can: deploy/install.sh does",
                    )
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
