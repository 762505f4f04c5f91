"""Everything a node can be asked: routes, their document, roles and calls without a daemon come from this table."""

from __future__ import annotations

from typing import Any

from edge_monitor.node import alarms, live, outbox, reloading, scoring, status
from edge_monitor.node.operation import Kind, LongOperation, Nothing, OfMachine, Operation, Role

_READ, _WRITE = Kind.READ, Kind.WRITE
_LOOK, _OPERATE, _ADMIN = Role.LOOK, Role.OPERATE, Role.ADMIN

STATUS = Operation("status", status.status, Nothing, status.NodeStatus, _READ, _LOOK)
RELOAD = LongOperation("reload", reloading.reload, Nothing, Nothing, reloading.Reloaded, _ADMIN)

LIST_ALARMS = Operation("alarms.list", alarms.list_alarms, alarms.ListAlarms, alarms.Alarms, _READ, _LOOK)
SHOW_ALARM = Operation("alarms.show", alarms.show_alarm, alarms.ShowAlarm, alarms.ExplainedAlarm, _READ, _LOOK)
REJECT_ALARM = LongOperation(
    "alarms.reject", alarms.reject_alarm, alarms.RejectAlarm, Nothing, alarms.Rejected, _OPERATE
)

INHIBIT = Operation("inhibit", live.inhibit, live.Inhibit, live.Inhibited, _WRITE, _OPERATE)
LISTEN = LongOperation("listen", live.listen, OfMachine, live.Reading, Nothing, _LOOK)
ENROLL_LIVE = LongOperation(
    "enroll.live", live.enroll_live, live.EnrollLive, live.EnrolmentProgress, live.EnrolmentProgress, _ADMIN
)

LIST_PARKED = Operation("outbox.parked", outbox.list_parked, Nothing, outbox.ParkedMessages, _READ, _LOOK)
RETRY_PARKED = Operation(
    "outbox.retry", outbox.retry_parked, outbox.ChooseMessages, outbox.ParkedMessages, _WRITE, _ADMIN
)
DISCARD_PARKED = Operation(
    "outbox.discard", outbox.discard_parked, outbox.ChooseMessages, outbox.ParkedMessages, _WRITE, _ADMIN
)

SCORE = Operation("score", scoring.score, scoring.ScoreSound, scoring.Scores, _READ, _LOOK)

OPERATIONS: tuple[Operation[Any, Any] | LongOperation[Any, Any, Any], ...] = tuple(
    each for each in list(globals().values()) if isinstance(each, (Operation, LongOperation))
)
