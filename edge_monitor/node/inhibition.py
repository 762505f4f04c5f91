"""Inhibition: no new alarm of a machine for a while, e.g. while people work on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.node.operation import Message, OfMachine

if TYPE_CHECKING:
    from edge_monitor.node.node import Node


class Inhibit(OfMachine):
    """For how long no new alarm is to be raised; 0: they are raised again."""

    seconds: Annotated[float, Field(ge=0, le=history.MAX_INHIBIT_S)]


class Inhibited(Message):
    """Until when."""

    machine: str
    until: str | None  # RFC 3339


def inhibit(node: Node, request: Inhibit) -> Inhibited:
    """Raise no new alarm of a machine for a while; return until when."""
    machine, seconds = request.machine, request.seconds
    node.machine(machine)
    until_ms = clock.now().wall_ms + round(seconds * 1000) if seconds > 0 else None
    node.commit(lambda connection: history.set_inhibition(connection, machine, until_ms, seconds))
    node.running.inhibit(machine, seconds)
    return Inhibited(machine=machine, until=None if until_ms is None else clock.rfc3339(until_ms))
