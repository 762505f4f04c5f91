"""What each machine's state is, as the plant sees it: published when it changes and every minute."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from edge_monitor import clock
from edge_monitor.deliver.compose import state_payload
from edge_monitor.node.verdict import Facts, judge
from edge_monitor.records import Condition, EventKind, MachineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import NodeSettings
    from edge_monitor.memory.generations import Generation
    from edge_monitor.node.verdict import Verdict
    from edge_monitor.pipeline.machine_pipeline import WindowResult
    from edge_monitor.records import AlarmEvent, Score

log = structlog.get_logger()
# The text of these says more than a score does.
_EXPLAINED = {
    MachineState.NOT_ENROLLED,
    MachineState.NO_AUDIO,
    MachineState.SIGNAL_FAULT,
    MachineState.SENSOR_CHANGED,
    MachineState.STORAGE_FAULT,
    MachineState.NOT_RUNNING,
}
_TOLD_AT_ONCE = ("state", "alarm_id", "condition", "episode_id", "generation")


@dataclass(frozen=True, slots=True)
class View:
    """The state of one machine."""

    state: MachineState = MachineState.STARTING
    since_ms: int = 0  # wall clock, milliseconds
    since_s: float = 0.0  # the same without the alarm's time before a restart, monotonic, seconds
    judged_s: float = 0.0  # monotonic time at which the last window was judged, seconds
    text: str = "waiting for the first window"
    alarm_id: str | None = None  # of the active alarm, once it is committed
    alarm_since_ms: int = 0  # when that began, wall clock, milliseconds: maybe before a restart
    condition: Condition = Condition.USUAL  # as the last committed event says
    episode_id: str | None = None  # of an active episode that is no alarm
    generation: int | None = None
    scorer: str | None = None  # of that generation
    learnt: Facts = field(default_factory=Facts)  # of that generation, for the verdict
    score: Score | None = None
    level_dbfs: float | None = None
    windows: int = 0
    lag_s: float | None = None  # from the end of the last scored sound to its score, seconds; None: not live


class MachineStates:
    """The states of all machines. Thread-safe; `publish(machine, payload)` is called with the lock held."""

    def __init__(
        self, node: NodeSettings, machines: tuple[MachineSettings, ...], publish: Callable[[str, bytes], None]
    ) -> None:
        self._node = node
        self._settings = {machine.name: machine for machine in machines}
        self._publish = publish
        self._lock = threading.Lock()
        self._storage_fault = ""
        moment = clock.now()
        self._views = {name: View(since_ms=moment.wall_ms, judged_s=moment.monotonic_s) for name in self._settings}

    def update(self, result: WindowResult, *, live: bool = False) -> None:
        """Take in what a window came to. An alarm shows only once it is committed, see `committed`.

        `live`: its stream time is the monotonic clock's, so that it is known how far scoring is behind.
        """
        moment = clock.now()
        with self._lock:
            view = self._views[result.machine]
            judged = result.window is not None
            self._change(
                result.machine,
                replace(
                    view,
                    state=_shown(result.state, view.alarm_id),
                    text=result.text,
                    judged_s=moment.monotonic_s if judged else view.judged_s,
                    score=result.score,
                    level_dbfs=result.level_dbfs,
                    windows=view.windows + judged,
                    generation=result.score.generation if result.score else view.generation,
                    lag_s=max(moment.monotonic_s - result.end_s, 0.0) if live and result.score else view.lag_s,
                ),
            )

    def committed(self, event: AlarmEvent) -> None:
        """Take note that an event of a machine's alarm or episode is on disk, so that everybody may know."""
        active = None if event.kind is EventKind.END else event.alarm_id
        alarm_id, episode_id = (active, None) if event.raised else (None, active)
        with self._lock:
            view = replace(
                self._views[event.machine],
                alarm_id=alarm_id,
                alarm_since_ms=event.since_ms,
                condition=event.condition,
                episode_id=episode_id,
            )
            self._change(event.machine, replace(view, state=_shown(view.state, alarm_id)))

    def set_generation(self, machine: str, generation: Generation | None, learnt: Facts) -> None:
        """Take note of what the machine is scored with, and of what the verdict on that goes by."""
        number, scorer = (generation.number, generation.scorer) if generation else (None, None)
        with self._lock:
            self._change(machine, replace(self._views[machine], generation=number, scorer=scorer, learnt=learnt))

    def note_silence(self, machine: str, limit_s: float) -> None:
        """Take note that no window was judged for longer than `limit_s` seconds, if so it is."""
        with self._lock:
            view = self._views[machine]
            silent_s = clock.now().monotonic_s - view.judged_s
            # A state that is no-audio already has its reason from the source, which is worth more.
            if silent_s > limit_s and view.state is not MachineState.NO_AUDIO:
                text = f"no window could be judged for {silent_s:.0f} s"
                self._change(machine, replace(view, state=MachineState.NO_AUDIO, text=text, score=None))

    def storage_fault(self, reason: str) -> None:
        """Take note that the disk fails (or, with an empty reason, works again)."""
        with self._lock:
            if self._storage_fault != reason:
                self._storage_fault = reason
                self._publish_all()

    @property
    def faulty(self) -> bool:
        """Return whether the disk fails."""
        return bool(self._storage_fault)

    def republish(self) -> None:
        """Publish every state again, so that its validity goes on."""
        with self._lock:
            self._publish_all()

    def verdict(self, machine: str) -> Verdict:
        """Return whether the machine would be heard to fail, as it is just now."""
        with self._lock:
            return self._judge(machine, self._views[machine])

    def snapshot(self) -> list[dict[str, Any]]:
        """Return every machine's state as plain JSON types."""
        with self._lock:
            return [self._describe(name, view) for name, view in self._views.items()]

    def _change(self, machine: str, view: View) -> None:
        before = self._views[machine]
        changed = any(getattr(before, name) != getattr(view, name) for name in _TOLD_AT_ONCE)
        if before.state is not view.state:
            restored = before.state is MachineState.STARTING and view.state is MachineState.ALARM
            began_ms = view.alarm_since_ms if restored else 0
            moment = clock.now()
            view = replace(view, since_ms=began_ms or moment.wall_ms, since_s=moment.monotonic_s)
        self._views[machine] = view
        if before.state is not view.state:
            log.info("machine.state_changed", machine=machine, state=view.state.label, text=view.text)
        if changed:
            self._publish_one(machine)

    def _publish_all(self) -> None:
        for machine in self._views:
            self._publish_one(machine)

    def _publish_one(self, machine: str) -> None:
        view = self._views[machine]
        state, text = self._seen(view)
        payload = state_payload(
            self._node,
            self._settings[machine],
            state=state,
            since_ms=view.since_ms,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
            alarm_id=view.alarm_id,
            condition=view.condition,
            episode_id=view.episode_id,
            score=view.score,
            generation=view.generation,
            detail=text if state in _EXPLAINED else "",
        )
        self._publish(machine, payload.encode())

    def _seen(self, view: View) -> tuple[MachineState, str]:
        return (MachineState.STORAGE_FAULT, self._storage_fault) if self._storage_fault else (view.state, view.text)

    def _judge(self, name: str, view: View) -> Verdict:
        most_s, stands = self._settings[name].running.not_running_max_s, view.state is MachineState.NOT_RUNNING
        too_long = stands and most_s is not None and clock.now().monotonic_s - view.since_s > most_s
        return judge(replace(view.learnt, state=view.state, stands_too_long=too_long, disk_fails=self.faulty))

    def _describe(self, name: str, view: View) -> dict[str, Any]:
        state, text = self._seen(view)
        heard = view.learnt.calibration.audibility if view.learnt.calibration else None
        return {
            "machine": name,
            "state": state.label,
            "state_code": int(state),
            "since": clock.rfc3339(view.since_ms),
            "text": text,
            "verdict": asdict(self._judge(name, view)),
            "audibility": asdict(heard) if heard else None,
            "alarm_id": view.alarm_id,
            "condition": int(view.condition),
            "episode_id": view.episode_id,
            "generation": view.generation,
            "scorer": view.scorer,
            "score": view.score.value if view.score else None,
            "threshold": view.score.threshold if view.score else None,
            "ratio": view.score.ratio if view.score else None,
            "level_dbfs": view.level_dbfs,
            "windows": view.windows,
            "lag_s": view.lag_s,
            "heard_ago_s": round(clock.now().monotonic_s - view.judged_s, 1),
        }


def _shown(state: MachineState, alarm_id: str | None) -> MachineState:
    """Return the state to show while `alarm_id` is (not) committed."""
    if alarm_id is None:
        return MachineState.NORMAL if state is MachineState.ALARM else state
    return MachineState.ALARM if state in {MachineState.NORMAL, MachineState.INHIBITED} else state
