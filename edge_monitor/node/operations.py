"""The verbs of the control socket, and the operation behind each."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import ControlError
from edge_monitor.node import (
    alarms,
    backup,
    bundle_change,
    calibrating,
    explaining,
    live,
    normals,
    outbox,
    reloading,
    scoring,
    transfer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.node.node import Node

VERBS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "alarms.in_memory": alarms.in_memory,
    "alarms.list": alarms.listed,
    "alarms.reject": alarms.reject,
    "alarms.show": alarms.show,
    "backup.audio": backup.audio,
    "backup.memory": backup.memory,
    "backup.sound": backup.sound,
    "calibrate": calibrating.calibrate,
    "enroll.live": live.enroll_live,
    "explain.alarm": explaining.alarm,
    "explain.sound": explaining.sound,
    "generations.activate": normals.activate_generation,
    "generations.build": normals.build,
    "generations.list": normals.generations,
    "inhibit": live.inhibit,
    "listen": live.listen,
    "normals.add": normals.add,
    "normals.export": transfer.export,
    "normals.import": transfer.import_,
    "normals.keep": bundle_change.keep,
    "normals.known": normals.known,
    "normals.leave_behind": bundle_change.leave_behind,
    "normals.list": normals.listed,
    "normals.reembed": bundle_change.reembed,
    "normals.remove": normals.remove,
    "normals.restore": normals.restore,
    "outbox.discard": outbox.discard,
    "outbox.parked": outbox.parked,
    "outbox.retry": outbox.retry,
    "reload": reloading.reload,
    "score": scoring.score,
    "status": live.status,
}


def answer(node: Node, verb: str, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the operation behind `verb`. Raises ControlError when there is none, or it takes other arguments."""
    operation = VERBS.get(verb)
    if operation is None:
        raise ControlError(f"unknown verb {verb!r}", hint="is the daemon of the same version?")
    try:
        inspect.signature(operation).bind(node, **arguments)
    except TypeError as error:
        raise ControlError(f"{verb}: {error}", hint="is the daemon of the same version?") from error
    yield from operation(node, **arguments)
