"""A reload: who does it, and which keys of the configuration it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.api.jobs import Jobs
    from edge_monitor.config.settings import Settings


class Reloading(Protocol):
    """Who runs a daemon and can have another one, with other settings, take its place."""

    jobs: Jobs  # long operations, which outlive a daemon
    log_lines_dropped: Callable[[], int]

    def started(self) -> None:
        """Hear that the daemon runs; called once, in the main thread."""

    def turn(self) -> None:
        """Do what was asked for; called in the main thread, twice a second."""

    def reload(self) -> tuple[str, ...]:
        """Load the configuration again; return the keys that changed, from any thread. Raises ReloadError."""


def changed_keys(before: Settings, after: Settings) -> tuple[str, ...]:
    """Return the keys whose values differ, sorted, e.g. `mqtt.port`, `machine.pump-3.alarm.raise`; no values.

    A machine goes by its name; one that came or went is one key, and so is a table.
    """
    return tuple(sorted(_differing(_tree(before), _tree(after), "")))


def _tree(settings: Settings) -> dict[str, object]:
    tree: dict[str, object] = settings.model_dump(by_alias=True)
    return {**tree, "machine": {machine.name: machine.model_dump(by_alias=True) for machine in settings.machine}}


def _differing(before: dict[str, object], after: dict[str, object], path: str) -> Iterator[str]:
    for key in before.keys() | after.keys():
        one, other = before.get(key), after.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differing(one, other, f"{path}{key}.")
        elif one != other:
            yield f"{path}{key}"
