"""What travels beside the operations' own requests and answers: problems, jobs, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_monitor.node.operation import Message

if TYPE_CHECKING:
    from typing import Self

    from edge_monitor.errors import EdgeMonitorError

VERSION_HEADER = "edge-monitor-version"


def path_of(operation: str) -> str:
    """Return where an operation of that name is asked for."""
    return f"/v1/{operation.replace('.', '/')}"


class Problem(Message):
    """Why there is no answer: the fields of EdgeMonitorError."""

    message: str
    where: str | None = None
    hint: str | None = None
    exit_code: int = 1

    @classmethod
    def of(cls, error: EdgeMonitorError) -> Self:
        """Return an error as it travels."""
        return cls(message=error.message, where=error.where, hint=error.hint, exit_code=error.exit_code)

    @classmethod
    def of_database(cls, error: Exception) -> Self:
        """Return an error of SQLite's as it travels."""
        return cls(message=f"the database failed: {error}", hint="the daemon's log says more")


class JobStarted(Message):
    """A long operation has begun; `GET /v1/jobs/{job}` tells how it goes."""

    job: str


class JobState(Message):
    """What has become of a long operation."""

    progress: list[dict[str, Any]]  # since the progress number asked for; each as the operation's own model
    next: int  # the number to ask for next
    ended: bool
    answer: dict[str, Any] | None  # the operation's own model, once it has ended well
    error: Problem | None  # once it has ended otherwise


class FileCreated(Message):
    """A file that can be sent to, piece by piece."""

    file: str
