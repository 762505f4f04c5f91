"""Everything a node can be asked: routes, their document, roles and calls without a daemon come from this table."""

from __future__ import annotations

from typing import Any

from edge_monitor.node import (
    alarms,
    backup,
    bundle_change,
    calibrating,
    explaining,
    explanations,
    generations,
    inhibition,
    live,
    measuring_audibility,
    normals,
    outbox,
    scoring,
    status,
    transfer,
    trend,
    wiring,
)
from edge_monitor.node.operation import Kind, LongOperation, Nothing, OfMachine, Operation, Role

_READ, _WRITE = Kind.READ, Kind.WRITE
_LOOK, _OPERATE, _ADMIN = Role.LOOK, Role.OPERATE, Role.ADMIN

STATUS = Operation("status", status.status, Nothing, status.NodeStatus, _READ, _LOOK)
RELOAD = LongOperation("reload", status.reload, Nothing, status.Reloaded, _ADMIN, outlives_daemon=True)

LIST_ALARMS = Operation("alarms.list", alarms.list_alarms, alarms.ListAlarms, alarms.Alarms, _READ, _LOOK)
SHOW_ALARM = Operation("alarms.show", alarms.show_alarm, alarms.ShowAlarm, alarms.ExplainedAlarm, _READ, _LOOK)
REJECT_ALARM = LongOperation("alarms.reject", alarms.reject_alarm, alarms.RejectAlarm, alarms.Rejected, _OPERATE)
TEST_ALARM = Operation("alarms.test", wiring.send_test_alarm, OfMachine, wiring.SentTestAlarm, _WRITE, _OPERATE)
SHOW_TREND = Operation("trend", trend.trends, OfMachine, trend.TrendsOfMachine, _READ, _LOOK)

INHIBIT = Operation("inhibit", inhibition.inhibit, inhibition.Inhibit, inhibition.Inhibited, _WRITE, _OPERATE)
LISTEN = LongOperation("listen", live.listen, OfMachine, Nothing, _LOOK, progress=live.Reading)
ENROLL_LIVE = LongOperation(
    "enroll.live", live.enroll_live, live.EnrollLive, live.EnrolmentProgress, _ADMIN, progress=live.EnrolmentProgress
)

LIST_PARKED = Operation("outbox.parked", outbox.list_parked, Nothing, outbox.ParkedMessages, _READ, _LOOK)
RETRY_PARKED = Operation(
    "outbox.retry", outbox.retry_parked, outbox.ChooseMessages, outbox.ParkedMessages, _WRITE, _ADMIN
)
DISCARD_PARKED = Operation(
    "outbox.discard", outbox.discard_parked, outbox.ChooseMessages, outbox.ParkedMessages, _WRITE, _ADMIN
)

LIST_NORMALS = Operation("normals.list", normals.list_all, OfMachine, normals.EnrolledRecordings, _READ, _LOOK)
KNOWN_RECORDINGS = Operation("normals.known", normals.known, normals.AskKnown, normals.Known, _READ, _LOOK)
ADD_RECORDING = LongOperation("normals.add", normals.add, normals.AddRecording, normals.AddedRecording, _ADMIN)
REMOVE_NORMALS = LongOperation(
    "normals.remove", normals.remove, normals.ChooseRecordings, normals.ChangedRecordings, _ADMIN
)
RESTORE_NORMALS = LongOperation(
    "normals.restore", normals.restore, normals.ChooseRecordings, normals.ChangedRecordings, _ADMIN
)
EXPORT_NORMALS = LongOperation("normals.export", transfer.export, OfMachine, transfer.ExportedNormals, _ADMIN)
IMPORT_NORMALS = LongOperation(
    "normals.import", transfer.import_, transfer.ImportNormals, transfer.ImportedNormals, _ADMIN
)
KEEP_SOUND = LongOperation("normals.keep", bundle_change.keep, bundle_change.KeepSound, Nothing, _ADMIN)
LEAVE_BEHIND = LongOperation(
    "normals.leave_behind", bundle_change.leave_behind, bundle_change.OfBundle, bundle_change.LeftBehind, _ADMIN
)
REEMBED = LongOperation(
    "normals.reembed",
    bundle_change.reembed,
    bundle_change.OfBundle,
    generations.GenerationSummary,
    _ADMIN,
    progress=bundle_change.HeardAgain,
)

LIST_GENERATIONS = Operation("generations.list", generations.list_all, OfMachine, generations.Generations, _READ, _LOOK)
BUILD_GENERATION = LongOperation(
    "generations.build", generations.build, generations.BuildGeneration, generations.GenerationSummary, _ADMIN
)
MEASURE_AUDIBILITY = LongOperation(
    "generations.audibility",
    measuring_audibility.measure_audibility,
    measuring_audibility.MeasureAudibility,
    measuring_audibility.MeasuredAudibility,
    _ADMIN,
    progress=measuring_audibility.AudibilityProgress,
)
ACTIVATE_GENERATION = LongOperation(
    "generations.activate",
    generations.activate_again,
    generations.ActivateGeneration,
    generations.ActivatedGeneration,
    _ADMIN,
)
CALIBRATE = LongOperation("calibrate", calibrating.calibrate, calibrating.Calibrate, calibrating.Calibrated, _ADMIN)
SCORE = Operation("score", scoring.score, scoring.ScoreSound, scoring.Scores, _READ, _LOOK)

EXPLAIN_ALARM = LongOperation(
    "explain.alarm",
    explaining.explain_alarm,
    explanations.ExplainAlarm,
    explanations.AlarmExplained,
    _OPERATE,
    progress=explanations.ExplainProgress,
)
EXPLAIN_SOUND = LongOperation(
    "explain.sound",
    explaining.explain_sound,
    explanations.ExplainSound,
    explanations.SoundExplained,
    _OPERATE,
    progress=explanations.ExplainProgress,
)

BACKUP_MEMORY = LongOperation("backup.memory", backup.back_up_memory, Nothing, backup.MemorySnapshot, _ADMIN)
LIST_KEPT_SOUNDS = Operation("backup.audio", backup.list_kept_sounds, Nothing, backup.KeptSounds, _READ, _ADMIN)
OPEN_KEPT_SOUND = Operation(
    "backup.sound", backup.open_kept_sound, backup.OpenKeptSound, backup.OpenedSound, _READ, _ADMIN
)

OPERATIONS: tuple[Operation[Any, Any] | LongOperation[Any, Any, Any], ...] = tuple(
    each for each in list(globals().values()) if isinstance(each, (Operation, LongOperation))
)
