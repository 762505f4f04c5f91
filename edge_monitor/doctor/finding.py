"""One finding of the doctor's: what was looked at, how it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for a person; `hint` says what to do unless all is well."""

    check: str
    result: Result
    text: str
    hint: str | None = None
    machine: str | None = None


def carefully(check: str, look: Callable[[], Iterator[Finding]], *, machine: str | None = None) -> Iterator[Finding]:
    """Yield what `look` finds; what it raises is a finding, too: one broken check hides no other."""
    try:
        yield from look()
    except EdgeMonitorError as error:
        text = f"{error.where}: {error.message}" if error.where else error.message
        yield Finding(check, "fail", text, error.hint, machine)
    except Exception as error:  # noqa: BLE001 - a doctor meets what nobody has foreseen, and goes on with the next check
        text = f"this check failed: {type(error).__name__}"
        if isinstance(error, OSError) and error.strerror:
            text += f": {error.filename or ''} {error.strerror}".replace("  ", " ")
        yield Finding(check, "fail", text, "`edge-monitor support-bundle` collects what is known", machine)
