"""The doctor on one machine: its sound, and what is known of it."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.api.daemon_client import daemon_at
from edge_monitor.capture.meter import Meter, meter
from edge_monitor.capture.source import open_sources
from edge_monitor.config.machine import MicrophoneSource
from edge_monitor.counting import counted
from edge_monitor.doctor.finding import Finding, fail, ok, warn
from edge_monitor.doctor.running import PATIENCE_S
from edge_monitor.memory.generations import active_generation
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.operation import OfMachine
from edge_monitor.node.operations import LISTEN
from edge_monitor.node.verdict import Facts, facts_of, judge
from edge_monitor.records import AudioLoss
from edge_monitor.store import database
from edge_monitor.store.recovery import opened
from edge_monitor.store.schema import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.records import AudioBlock

_HEARD_S = 1.0  # of sound, when no daemon runs
_READINGS = 5  # of half a second, from the running daemon
_LOSSES = 6  # told twice a second: a busy box may be late once
_PATIENCE_S = 12.0  # a capture child has 10 s to start
_SILENT_DBFS, _QUIET_DBFS = -130.0, -75.0  # no converter is as quiet; a microphone near a machine gives -60 and more
_CLIPPED_SHARE = 0.001
_SKEW = 0.25  # of readings that came over 2 s


def look_at_sound(machine: MachineSettings, socket: Path, *, running: bool) -> Iterator[Finding]:
    """Yield whether sound comes with a live level: through the daemon's tap when it runs, else from the source."""
    yield _from_tap(machine, socket) if running else _from_source(machine)


def _from_tap(machine: MachineSettings, socket: Path) -> Finding:
    readings: list[Meter] = []
    began_s = ended_s = 0.0
    losses = 0
    with ExitStack() as stack:
        daemon = stack.enter_context(daemon_at(socket, patience_s=PATIENCE_S))
        heard = daemon.follow(LISTEN, OfMachine(machine=machine.name)) if daemon else None
        for item in () if heard is None else stack.enter_context(closing(heard)):
            if item.meter is None:
                losses += 1
                if losses == _LOSSES:
                    return fail(f"none: {item.loss}", _hint(machine))
                continue
            ended_s = time.monotonic()
            began_s = began_s or ended_s
            readings.append(item.meter)
            if len(readings) == _READINGS:
                break
    if len(readings) < _READINGS:
        return fail("the daemon ended meanwhile", "try again")
    level = max(reading.level_dbfs for reading in readings)
    clipped = max(reading.clipped_share for reading in readings)
    found = judge_level(machine, level, clipped)
    took_s, heard_s = ended_s - began_s, 0.5 * (len(readings) - 1)
    if found.result == "ok" and isinstance(machine.source, MicrophoneSource) and abs(took_s / heard_s - 1) > _SKEW:
        hint = "the interface's sample rate or the box's clock is wrong, or the box is overloaded"
        return warn(f"{heard_s:.1f} s of sound took {took_s:.1f} s to come", hint)
    return found


def _from_source(machine: MachineSettings) -> Finding:
    if isinstance(machine.source, MicrophoneSource):
        from edge_monitor.capture.devices import list_devices, resolve

        resolve(list_devices(), machine.source.device)  # raises what to do when it is not there
    source = open_sources([machine])[0]
    timer = threading.Timer(_PATIENCE_S, source.close)  # ends a source that gives nothing
    timer.daemon = True
    timer.start()
    blocks: list[AudioBlock] = []
    try:
        for item in source.items():
            if isinstance(item, AudioLoss):
                return fail(f"none: {item.reason}", _hint(machine))
            blocks.append(item)
            if item.end_s - blocks[0].start_s >= _HEARD_S:
                break
    finally:
        timer.cancel()
        with suppress(OSError):
            source.close()
    if not blocks:
        return fail(f"none within {_PATIENCE_S:.0f} s", _hint(machine))
    reading = meter(np.concatenate([block.samples for block in blocks]), blocks[0].rate_hz)
    return judge_level(machine, reading.level_dbfs, reading.clipped_share)


def judge_level(machine: MachineSettings, level_dbfs: float, clipped_share: float) -> Finding:
    """Return what a level, dBFS, and the share of clipped samples, 0 to 1, say."""
    if level_dbfs < _SILENT_DBFS:
        return fail("digital silence", _hint(machine))
    if clipped_share > _CLIPPED_SHARE:
        text = f"{level_dbfs:.1f} dBFS, {100 * clipped_share:.1f} % of the samples clipped"
        return warn(text, "lower the gain: `edge-monitor listen` shows the level")
    if level_dbfs < _QUIET_DBFS:
        hint = "raise the gain, unless the machine stands still: `edge-monitor listen`"
        return warn(f"hardly any: {level_dbfs:.1f} dBFS", hint)
    return ok(f"{level_dbfs:.1f} dBFS")


def _hint(machine: MachineSettings) -> str:
    if isinstance(machine.source, MicrophoneSource):
        return "check plug, mute and gain; `edge-monitor devices` lists the inputs"
    return "check the machine's source in the configuration"


def look_at_normals_of(machine: MachineSettings, path: Path, bundle_hash: str | None) -> Iterator[Finding]:
    """Yield whether a machine is enrolled with this bundle (None: unknown), and what its threshold is worth."""
    name = machine.name
    generation, in_use, facts = None, 0, Facts()
    if path.exists():
        with closing(opened(path)) as connection:
            version = version_of(connection)
            if 0 < version < database.SCHEMA_VERSION:
                yield warn("the daemon brings the database up to date when it starts")
                return
            if version:
                generation = active_generation(connection, name)
                in_use = len(Normals(connection, name).ids())
                load_scorer(connection, name, path.parent, build=False)  # raises what is wrong with it
                facts = facts_of(connection, machine, generation)
    if generation is None:
        yield fail(
            f"not enrolled: {counted(in_use, 'normal')}, no generation", "`edge-monitor enroll` while it is healthy"
        )
        return
    if bundle_hash not in (None, generation.bundle_hash):
        yield fail(f"generation {generation.number} was made by another bundle", "set model.bundle back, or enrol anew")
        return
    alarm = machine.alarm
    if alarm.threshold_generation not in (None, generation.number):
        yield warn(
            f"the configured threshold is for generation {alarm.threshold_generation},"
            f" not {generation.number}: the calibrated one is used",
            'set machine.alarm.threshold anew, or back to "calibrated"',
        )
    verdict = judge(facts)
    normals = counted(len(generation.members), "normal")
    judged = ", ".join(filter(None, (verdict.level, verdict.figures)))
    told = f"generation {generation.number}, {normals}: {judged}"
    if verdict.level == "good":
        yield ok(told)
    else:
        yield (fail if verdict.level == "deaf" else warn)(told, verdict.next_step)
    if heard := generation.calibration.audibility:
        yield ok(heard.sentence())
