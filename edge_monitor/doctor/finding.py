"""One finding of the doctor's: what was looked at, how it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Result = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for a person; `hint` says what to do unless all is well."""

    check: str
    result: Result
    text: str
    hint: str | None = None
    machine: str | None = None


def ok(text: str, *, check: str = "") -> Finding:
    """Return that all is well; `check` is filled in by `carefully`."""
    return Finding(check, "ok", text)


def skip(text: str, hint: str | None = None, *, check: str = "") -> Finding:
    """Return that it could not be looked at, or need not be."""
    return Finding(check, "skip", text, hint)


def warn(text: str, hint: str | None = None, *, check: str = "") -> Finding:
    """Return what is not as it should be, and does not stop the node."""
    return Finding(check, "warn", text, hint)


def fail(text: str, hint: str | None = None, *, check: str = "") -> Finding:
    """Return what stops the node, or keeps an alarm from arriving."""
    return Finding(check, "fail", text, hint)


def carefully(check: str, look: Callable[[], Iterable[Finding]], *, machine: str | None = None) -> Iterator[Finding]:
    """Yield what `look` finds, as of this check and machine unless it says another.

    What it raises is a finding, too: one broken check hides no other.
    """
    try:
        for finding in look():
            yield replace(finding, check=finding.check or check, machine=finding.machine or machine)
    except EdgeMonitorError as error:
        text = f"{error.where}: {error.message}" if error.where else error.message
        yield Finding(check, "fail", text, error.hint, machine)
    except Exception as error:  # noqa: BLE001 - a doctor meets what nobody has foreseen, and goes on with the next check
        text = f"this check failed: {type(error).__name__}"
        if isinstance(error, OSError) and error.strerror:
            text += f": {error.filename or ''} {error.strerror}".replace("  ", " ")
        yield Finding(check, "fail", text, "`edge-monitor support-bundle` collects what is known", machine)
