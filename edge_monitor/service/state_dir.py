"""A node's state directory: its paths, its owner, and the lock that says who may write."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.database import FILE_NAME
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.config import NodeSettings

_MAX_SOCKET_PATH = 107  # bytes, unix(7)
PRIVATE_UMASK = 0o077  # whoever works on a state directory keeps what it holds to its owner


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

        Raises StorageError when the folder cannot be made or written.
        """
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True)
                self.path.chmod(0o710)  # the group may pass through to the control socket, and see nothing
            if not self.runtime.exists():
                self.runtime.mkdir(parents=True)
                self.runtime.chmod(0o750)
        except OSError as error:
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
        if not os.access(self.path, os.W_OK | os.X_OK, effective_ids=True):
            raise StorageError(
                "the state directory is not writable",
                where=str(self.path),
                hint="run as its owner, or join its group while the daemon runs",
            )

    def refuse_to_run_as_somebody_else(self) -> None:
        """Refuse to leave files of root's in another user's directory, which that user could not write."""
        owner = self.path.stat().st_uid
        if os.geteuid() == 0 and owner != 0:
            raise StorageError(
                f"the state directory belongs to user {owner}, not to root",
                where=str(self.path),
                hint=f"run the daemon as that user, e.g. sudo -u '#{owner}' edge-monitor run",
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory alone; the kernel lets go when the process ends, however it ends.

        Raises StorageError at once when another process holds it.
        """
        path = self.path / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot lock the state directory: {error.strerror}",
                where=str(path),
                hint="run as the directory's owner",
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    "another edge-monitor works on this state directory",
                    where=str(self.path),
                    hint="wait for it to end, or stop it",
                ) from error
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """Work as the directory's owner when root does: what is written must stay writable for the daemon."""
        owner = self.path.stat()
        if os.geteuid() != 0 or owner.st_uid == 0:
            yield
            return
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
