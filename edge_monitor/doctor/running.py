"""The doctor on the running daemon: whether it answers, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.api.daemon_client import daemon_at
from edge_monitor.counting import counted
from edge_monitor.doctor.finding import Finding, carefully, fail, ok, warn
from edge_monitor.node.operation import Nothing
from edge_monitor.node.operations import STATUS
from edge_monitor.node.verdict import UNHEARD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.node.status import MachineStatus, NodeStatus

PATIENCE_S = 5.0
_ALERT_PATIENCE_S = 10.0  # beyond a window: docs/reliability.md, deafness shows within this time
_DEAF = {"storage-fault"} | {state.label for state in UNHEARD}
_WAITING = {"not-enrolled", "learning", "inhibited"}


def ask_status(socket: Path) -> NodeStatus | None:
    """Return what the daemon says of itself; None when none runs. Raises ControlError when it hangs or refuses."""
    with daemon_at(socket, patience_s=PATIENCE_S) as daemon:
        return None if daemon is None else daemon.call(STATUS, Nothing())


def judge_status(status: NodeStatus, *, window_s: float) -> Iterator[Finding]:
    """Yield what the daemon's own status means; `window_s` is the bundle's window, seconds."""
    yield ok(f"runs since {status.started} with the bundle {status.bundle}")
    for thread in status.threads:
        if not thread.alive:
            yield fail(f"its {thread.name} thread has ended", "restart it; its log says why")
    if status.stuck:
        yield fail(status.stuck, "it ends by itself and systemd starts it again; if not, restart it")
    lost = [(count, what) for count, what in ((status.dropped_frames, "frame"), (status.dropped_windows, "window"))]
    if any(count for count, _ in lost):
        told = " and ".join(counted(count, what) for count, what in lost if count)
        yield warn(
            f"lost {told} of sound since its start", "is the processor busy? A longer model.hop_s takes less of it"
        )
    mqtt = status.mqtt
    if mqtt is not None and not mqtt.connected:
        yield fail(
            f"is not connected to the broker: {mqtt.last_error}; {mqtt.queued} wait", "see the findings on the broker"
        )
    for machine in status.machines:
        yield from carefully("scoring", _judge_machine(machine, window_s), machine=machine.machine)


def _judge_machine(machine: MachineStatus, window_s: float) -> Iterator[Finding]:
    state, ago_s = machine.state, machine.heard_ago_s
    told = f"{state}: {machine.text}" if machine.text else state
    if state in _DEAF:
        yield fail(told, f"see the findings on {'disk and database' if state == 'storage-fault' else 'its sound'}")
    elif state == "not-running":
        yield ok(told)
    elif state in _WAITING:
        yield warn(told, "nothing is scored until that ends")
    elif ago_s > window_s + _ALERT_PATIENCE_S:
        text = f"{state}, but the last window was judged {ago_s:.0f} s ago"
        yield (warn if state == "starting" else fail)(text, "see the findings on its sound")
    else:
        yield ok(f"{state}; the last window was judged {ago_s:.1f} s ago")
