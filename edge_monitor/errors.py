"""Every error a caller may catch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class EdgeMonitorError(Exception):
    """What went wrong, where, and what to do about it: one line for the user.

    `where` is a file, key or device; `hint` says what to do. `exit_code` is what a command ends with.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """Return the one line a user sees."""
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} ({self.hint})" if self.hint else head


class ConfigError(EdgeMonitorError):
    """The configuration cannot be used."""

    exit_code = 2


class AudioError(EdgeMonitorError):
    """A recording or a device cannot be heard."""


class PortAudioMissingError(AudioError):
    """The library that microphones need is not installed."""


class BundleError(EdgeMonitorError):
    """A model bundle cannot be used."""


class BundleMissingError(BundleError):
    """No bundle of that name is installed, or files of it are missing."""


class BundleMismatchError(BundleError):
    """Files differ from the manifest, or vectors come from another bundle."""


class NormalsError(EdgeMonitorError):
    """The normals or a generation cannot be read, written or used as asked."""


class DamagedGenerationError(NormalsError):
    """What was learnt holds numbers that cannot be right: scored with them, a machine would not be heard."""


class StorageError(EdgeMonitorError):
    """The state directory or its database cannot be used."""


class StateDirInUseError(StorageError):
    """Another process holds the state directory."""


class DiskError(StorageError):
    """The disk takes or gives nothing: it is full, read-only or failing. A later try may fare better."""


class DamagedError(StorageError):
    """The database is damaged."""


class DeliveryError(EdgeMonitorError):
    """The broker cannot be used as configured."""


class ExplainError(EdgeMonitorError):
    """A sound cannot be explained as asked."""


class LlmError(ExplainError):
    """One request to the LLM brought no answer of use; the message says why, without address or key.

    `retryable`: asking again may help. `after_s`: the server asked for so many seconds of rest, None when it did not.
    `sent`: False when the request surely never reached the server, so that it cost nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        after_s: float | None = None,
        sent: bool = True,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.retryable = retryable
        self.after_s = after_s
        self.sent = sent


class UselessAnswerError(LlmError):
    """The LLM's server answered as if all were well, but with nothing that can be used. It may have cost."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class BudgetSpentError(ExplainError):
    """No more requests to the LLM are allowed for this alarm or on this day."""


class DatasetError(EdgeMonitorError):
    """A data set, or answers to a listening sheet, cannot be used."""


class ControlError(EdgeMonitorError):
    """The running daemon could not be asked, or refused."""


class ReloadError(EdgeMonitorError):
    """A changed configuration was not taken up, for `cause`; the settings from before are in force."""

    def __init__(self, cause: EdgeMonitorError) -> None:
        super().__init__(f"not taken up, the settings from before are in force: {cause}")
        self.exit_code = cause.exit_code


@contextmanager
def os_errors_as(kind: type[EdgeMonitorError], what: str, *, where: object, hint: str | None = None) -> Iterator[None]:
    """Have an OSError of the body raised as an error of `kind`: what could not be done, and the system's reason."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}", where=str(where), hint=hint) from error
