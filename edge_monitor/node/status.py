"""What a node does, as it says itself, and its daemon's configuration loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from edge_monitor.memory.audibility import Audibility
from edge_monitor.node.operation import Message, Nothing
from edge_monitor.node.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled


class BrokerStatus(Message):
    """How the broker fares."""

    connected: bool
    last_error: str | None
    queued: int
    parked: int
    dropped: int


class ThreadStatus(Message):
    """How one of the daemon's threads fares."""

    name: str
    alive: bool
    restarts: int
    last_error: str | None


class MachineStatus(Message):
    """The state of one machine; of a daemon that does not run only name, state and text."""

    machine: str
    state: str
    text: str
    verdict: Verdict | None = None
    audibility: Audibility | None = None  # how faint a fault its generation hears; None: not measured
    state_code: int | None = None
    since: str | None = None  # RFC 3339
    alarm_id: str | None = None
    condition: int | None = None  # 1 as usual, 2 changed, 3 alarm, 4 alarm that grows
    episode_id: str | None = None  # at condition 2
    generation: int | None = None
    scorer: str | None = None
    score: float | None = None
    threshold: float | None = None
    ratio: float | None = None
    level_dbfs: float | None = None
    windows: int = 0
    lag_s: float | None = None
    heard_ago_s: float = 0.0


class NodeStatus(Message):
    """What the daemon does."""

    running: bool
    bundle: str
    mqtt: BrokerStatus | None
    machines: tuple[MachineStatus, ...]
    started: str | None = None  # RFC 3339
    threads: tuple[ThreadStatus, ...] = ()
    stuck: str = ""  # in one line what stands still; empty: nothing
    dropped_frames: int = 0
    dropped_windows: int = 0
    health: dict[str, bool | int | float | None] = Field(default={})  # the node's counters and gauges, by name


def status(node: Node, _request: Nothing) -> NodeStatus:
    """Return what the node does."""
    return NodeStatus.model_validate(node.running.status())


class Reloaded(Message):
    """The keys that changed."""

    changed: tuple[str, ...]


def reload(node: Node, _request: Nothing, _cancelled: Cancelled) -> Generator[Nothing, None, Reloaded]:
    """Load the configuration again; return once the new settings are in force.

    The daemon ends and begins anew meanwhile. Raises ReloadError when the settings from before are in force.
    """
    yield Nothing()
    return Reloaded(changed=node.running.reload())
