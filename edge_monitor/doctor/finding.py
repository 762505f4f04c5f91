"""One finding of the doctor's: what was looked at, how it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Result = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for a person; `hint` says what to do unless all is well."""

    result: Result
    text: str
    hint: str | None = None
    check: str = ""  # filled in by `carefully`, as the machine
    machine: str | None = None


ok = partial(Finding, "ok")  # all is well
skip = partial(Finding, "skip")  # it could not be looked at, or need not be
warn = partial(Finding, "warn")  # it is not as it should be, and does not stop the node
fail = partial(Finding, "fail")  # it stops the node, or keeps an alarm from arriving


def carefully(check: str, findings: Iterable[Finding], *, machine: str | None = None) -> Iterator[Finding]:
    """Yield the findings of a check that looks as it is iterated, as of this check and machine unless they say another.

    What it raises is a finding, too: one broken check hides no other.
    """
    try:
        for finding in findings:
            yield replace(finding, check=finding.check or check, machine=finding.machine or machine)
    except EdgeMonitorError as error:
        text = f"{error.where}: {error.message}" if error.where else error.message
        yield fail(text, error.hint, check, machine)
    except Exception as error:  # noqa: BLE001 - a doctor meets what nobody has foreseen, and goes on with the next check
        text = f"this check failed: {type(error).__name__}"
        if isinstance(error, OSError) and error.strerror:
            text += f": {error.filename or ''} {error.strerror}".replace("  ", " ")
        yield fail(text, "`edge-monitor support-bundle` collects what is known", check, machine)
