"""The verdict on a machine: would it hear a fault, and what is the next step, in one line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_monitor.counting import counted
from edge_monitor.memory import low_line
from edge_monitor.memory.calibration import LABELLED
from edge_monitor.memory.coverage import MIN_BLOCKS
from edge_monitor.memory.generations import share_below
from edge_monitor.memory.leaveout import BLOCK_S
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.records import MachineState

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.memory.calibration import Calibration
    from edge_monitor.memory.generations import Generation

Level = Literal["good", "thin", "deaf"]

_FAR_ABOVE = 2.0  # times the calibrated threshold: only lasting faults are heard then
# Over the machine's own level in a fault's own band, dB: half of the faults tried have to be heard from there on.
LOUD_DB, GROSS_DB = 6, 12
_MOST_REFUSED = 0.5  # of the normals, by a configured gate: more, and it hardly ever listens
# While a machine is in one of these states none of its windows is scored, and that is not as it should be.
UNHEARD = {
    MachineState.NO_AUDIO: "no sound comes: `edge-monitor doctor` says what to do",
    MachineState.SIGNAL_FAULT: "its sound cannot be judged: `edge-monitor doctor` says what to do",
    MachineState.SENSOR_CHANGED: "microphone covered or gone? Else set gain or sample rate back, or enrol with --anew",
}
_NO_ALARM = UNHEARD | {
    MachineState.LEARNING: "it is being enrolled: no alarm until that ends",
    MachineState.INHIBITED: "alarms are inhibited: `edge-monitor inhibit --resume` ends that",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a fault would raise an alarm, in words."""

    # good: it would, and there is enough normal sound for what is promised; thin: it may, for lack of normal sound, or
    # the alarm may be lost with a disk that fails; deaf: hardly any would
    level: Level
    next_step: str  # for a person; `line` has at most 100 characters
    figures: str = ""  # one line, what it was judged by; empty: not by figures

    @property
    def line(self) -> str:
        """Return level and next step."""
        return f"{self.level}: {self.next_step}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a machine is judged by."""

    calibration: Calibration | None = None  # of the active generation; None: not enrolled
    threshold: float | None = None  # in use, > 0, in the score's unit; None: the calibrated one
    refused: float = 0.0  # share of the normals, 0 to 1, that the configured gate takes for a machine that stands still
    damaged: bool = False  # what was learnt cannot be scored with
    state: MachineState | None = None  # just now; None: no daemon hears it
    stands_too_long: bool = False  # it is not-running for longer than `running.not_running_max_s`
    disk_fails: bool = False  # so that alarms are in memory alone


def facts_of(connection: sqlite3.Connection, machine: MachineSettings, generation: Generation | None) -> Facts:
    """Return what was learnt of a machine, as its settings use it."""
    if generation is None:
        return Facts()
    gate = machine.running.gate
    return Facts(
        calibration=generation.calibration,
        threshold=threshold_of(machine.alarm, generation),
        refused=0.0 if isinstance(gate, str) else share_below(connection, generation, gate),
        damaged=generation.implausible() is not None,
    )


def judge(facts: Facts) -> Verdict:
    """Return the verdict: what keeps every fault from being heard comes first."""
    step = None if facts.state is None else _NO_ALARM.get(facts.state)
    verdict = Verdict("deaf", step) if step else _of_learnt(facts)
    if facts.disk_fails and verdict.level != "deaf":
        return Verdict("thin", "the disk fails, alarms are in memory alone: `edge-monitor doctor` says what to do")
    return verdict


def _of_learnt(facts: Facts) -> Verdict:
    if facts.damaged:
        return Verdict("deaf", "what was learnt is damaged: `edge-monitor doctor` says what to do")
    if facts.calibration is None:
        return Verdict("deaf", "not enrolled: `edge-monitor enroll` while the machine is healthy")
    if facts.refused > _MOST_REFUSED:
        figures = f"{100 * facts.refused:.0f} % of the healthy windows lie below running.gate"
        return Verdict("deaf", 'running.gate is above most healthy sound: lower it, or set it to "learnt"', figures)
    if facts.stands_too_long:
        return Verdict("deaf", "not running for longer than not_running_max_s: is it off, or running.gate too high?")
    return _of_threshold(facts.calibration, facts.threshold or facts.calibration.threshold)


def _of_threshold(calibration: Calibration, threshold: float) -> Verdict:
    """Return the verdict on a threshold, in the score's unit, and the normal sound it comes from."""
    own = not math.isclose(threshold, calibration.threshold)
    line, blocks = calibration.low_line, _independent(calibration)
    heard = None if own else calibration.audibility
    low = "no low line" if line is None else f"low line {line.value / calibration.highest_usual:.2f}"
    figures = (
        f"{low}, threshold {threshold / calibration.highest_usual:.2f} times the highest healthy score, "
        f"{blocks} independent blocks (thin below {MIN_BLOCKS}), {calibration.seconds / 60:.1f} min of sound"
    )
    if heard:
        faintest = "at no level" if heard.half_db is None else f"from {heard.half_db:+d} dB"
        figures += f", half of the faults heard {faintest} (thin above {LOUD_DB:+d}, deaf above {GROSS_DB:+d})"
        deaf = heard.half_db is None or heard.half_db > GROSS_DB
    else:
        deaf = line is None and blocks < low_line.MIN_BLOCKS and (own or calibration.method != LABELLED)
    if deaf:
        return Verdict("deaf", _deaf_step(calibration), figures)
    if step := _thin_step(calibration, threshold if own else None):
        return Verdict("thin", step, figures)
    promised = calibration.at_most_per_day is not None and calibration.at_most_per_day <= calibration.wanted_per_day
    step = "nothing to do" if promised else "after some days `edge-monitor calibrate` can promise fewer false alarms"
    return Verdict("good", step, figures)


def _deaf_step(calibration: Calibration) -> str:
    if calibration.odd:
        return _odd_step(calibration.odd.recording)
    return f"only gross faults would be heard: enrol {_more(calibration)} of healthy sound"


def _thin_step(calibration: Calibration, own: float | None) -> str:
    """Return what to do where faults are missed, or false alarms come; empty: nothing. `own`: an own threshold."""
    if calibration.low_line is None and _independent(calibration) >= low_line.MIN_BLOCKS:  # by an earlier version
        return "only gross faults are heard yet: `edge-monitor calibrate` finds the low line"
    if own is not None and own > _FAR_ABOVE * calibration.threshold:
        return 'machine.alarm.threshold is far above the calibrated one: lower it, or set "calibrated"'
    if own is not None and own < calibration.threshold:
        return "machine.alarm.threshold is below the calibrated one: more false alarms than promised"
    if step := _more_sound(calibration):
        return step
    heard = calibration.audibility if own is None else None
    if heard and heard.half_db is not None and heard.half_db > LOUD_DB:
        return "only loud faults would be heard: enrol more sound, or move the microphone"
    return ""


def _more_sound(calibration: Calibration) -> str:
    """Return what to do about too little normal sound; empty: there is enough."""
    if calibration.odd:
        return _odd_step(calibration.odd.recording)
    if calibration.blocks < MIN_BLOCKS:
        return f"enrol {_more(calibration)} of healthy sound, best on another day"
    if _independent(calibration) < MIN_BLOCKS:
        return f"the healthy sound is all alike: enrol {_more(calibration)}, best on another day"
    if not calibration.coverage.enough:
        return f"healthy sound still surprises: enrol {_more(calibration)}, best on another day"
    return ""


def _odd_step(recording: int) -> str:
    return f"was recording #{recording} healthy? Enrol more like it; if not, `normals remove` it"


def _independent(calibration: Calibration) -> int:
    return calibration.independent_blocks or calibration.blocks


def _more(calibration: Calibration) -> str:
    """Return how much live sound makes up what is missing of the least blocks; where none is, as much again."""
    independent = _independent(calibration)
    seconds = calibration.seconds
    if independent < MIN_BLOCKS:  # each takes as many blocks as before, each with its guard
        missing = (MIN_BLOCKS - independent) * calibration.blocks / independent
        seconds = missing * (BLOCK_S + calibration.window_s)
    minutes = math.ceil(seconds / 60.0)
    return counted(minutes, "more minute") if minutes <= 120 else f"{math.ceil(minutes / 60)} more hours"  # noqa: PLR2004 - two hours
