"""The demo's course: configuration, daemon, enrolment, fault, alert, evidence."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.capture.recording import duration_s
from edge_monitor.demo.commands import MINUTES, PATIENCE_S, Commands, first_machine, typed
from edge_monitor.demo.plant import embedded_broker, watching
from edge_monitor.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.console import Console
    from edge_monitor.demo.plant import Scada

PACE = 40.0  # times as fast as real time: half an hour of the machine in less than a minute
ENROL_MINUTES = 10
FAULT_AT_S = 1000.0  # the enrolment ends before 800 s even where a command takes 5 s to start
HEALTHY_END_S = 1300.0
_ENOUGH_NORMALS = 5  # k + 1
# Recordings: a machine that sounds changed for an hour is told, after three hours it raises the alarm.
HEALTHY_H = 0.5
ANOMALOUS_H = 3.0

_CONFIG = """\
[node]
site = "demo"
name = "edge-01"
state_dir = "state"

[mqtt]
host = "127.0.0.1"
port = {port}
protocol = "3.1.1"             # all that the demo's own broker speaks

[[machine]]
name = "{name}"
display_name = "{title}"
kind = "{kind}"
source = {source}
"""


@dataclass(frozen=True, slots=True)
class Clips:
    """Recordings of one machine for the demo."""

    name: str
    train: list[Path]  # healthy, to enrol
    healthy: list[Path]  # to play first
    anomalous: list[Path]  # to play then


class Demo:
    """Shows one course of events in a folder, and tells it on a console."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._config = folder / "edge-monitor.toml"
        self._commands = Commands(self._config, console)
        self._console = console

    def run_simulated(self, *, seed: int, faulty: bool) -> bool:
        """Enrol a simulated pump live, let a bearing fail (or not), and return whether the alerts were right."""
        ending = f'fault = "bearing", fault_at_s = {FAULT_AT_S:g}' if faulty else f"seconds = {HEALTHY_END_S:g}"
        source = f'{{ kind = "simulator", machine = "pump", seed = {seed}, pace = {PACE:g}, {ending} }}'
        with embedded_broker() as port, watching(port, self._console) as scada:
            self._configure(port=port, name="pump-3", title="Cooling pump 3", kind="pump", source=source)
            self._say(f"A simulated pump, {PACE:g} times as fast as real time. The daemon knows no normal sound yet.")
            with self._commands.daemon() as daemon:
                self._say(f"Its healthy sound is enrolled live: {ENROL_MINUTES} minutes of it.")
                self._commands.run("enroll", "--live", str(ENROL_MINUTES), "--no-audibility")
                if scada.alerts:
                    return self._fail("an alert came while nothing was wrong")
                if faulty:
                    self._say(f"It is monitored now. At {FAULT_AT_S:g} s of its time a bearing begins to fail.")
                    if not scada.wait_for_alert(PATIENCE_S):
                        return self._fail("no alert came")
                    if (at_s := scada.alerts[0]["window_end_s"]) < FAULT_AT_S:
                        return self._fail(f"the alert came at {at_s:.0f} s, before the fault")
                    self._show_alert(scada, f"{at_s - FAULT_AT_S:.0f} s of its time after the fault set in")
                else:
                    self._say("Nothing is wrong with this one; until it ends there should be no alert.")
                    daemon.wait(PATIENCE_S)
                    if scada.alerts:
                        return self._fail("an alert came although nothing was wrong")
                    self._say("No alert came, as it should be.")
        return self._finish()

    def run_recordings(self, recordings: Path, only: str | None) -> bool:
        """Enrol healthy recordings of one machine, play others, anomalous ones last; return whether an alert came."""
        found = find_clips(recordings)
        clips = next((each for each in found if only in {None, each.name}), None)
        names = ", ".join(repr(each.name) for each in found)
        if clips is None:
            raise AudioError(f"no machine {only!r}", where=str(recordings), hint=f"there are {names}")
        self._say(f"Found {names}; --only NAME chooses.")
        playlist = self._config.with_name("playlist")
        playlist.mkdir()
        healthy, anomalous = lasting(clips.healthy, HEALTHY_H), lasting(clips.anomalous, ANOMALOUS_H)
        for number, path in enumerate([*healthy, *anomalous]):
            (playlist / f"{number:05d}_{path.name}").symlink_to(path.resolve())
        source = '{ kind = "recording", path = "playlist", pace = "max" }'
        with embedded_broker() as port, watching(port, self._console) as scada:
            self._configure(port=port, name="machine-1", title=clips.name, kind="machine", source=source)
            self._say(f"{clips.name}: {len(clips.train)} healthy recordings are enrolled.")
            self._commands.run("enroll", *map(str, clips.train))
            self._say(
                f"{len(clips.healthy)} other healthy recordings are played for {HEALTHY_H:g} h, again and again and as"
                f" fast as it goes; then {len(clips.anomalous)} anomalous ones for {ANOMALOUS_H:g} h: faults last."
            )
            with self._commands.daemon() as daemon:
                daemon.wait(PATIENCE_S)
            if not scada.alerts:
                self._commands.run("score", *map(str, clips.anomalous))
                return self._fail(
                    f"no alert came: too few of these anomalies stand out from {len(clips.train)} healthy recordings"
                )
            self._show_alert(scada, f"at {scada.alerts[0]['window_end_s']:.0f} s of what was played")
        return self._finish()

    def _configure(self, **values: object) -> None:
        self._config.write_text(_CONFIG.format(**values), encoding="utf-8")
        self._say(f"The configuration is {self._config}; what SCADA receives is indented.")

    def _show_alert(self, scada: Scada, when: str) -> None:
        alert = scada.alerts[0]
        picture = self._config.parent / "state" / "evidence" / alert["evidence"]
        deadline_s = time.monotonic() + 10.0
        while not picture.exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)  # the picture is drawn after the alert has gone
        self._say(f"The alert came {when}.")
        self._commands.run("alarms show", alert["alarm_id"])
        self._say(f"Look at the picture: {picture}")

    def _finish(self) -> bool:
        """Tell what comes after the demo, when everything else has been told."""
        self._say(f"To tidy up: rm -r {typed(self._config.parent)}")
        self._say(
            "Next, your own machine: which microphones there are, a configuration to write yours into,"
            f" and {MINUTES} minutes of healthy sound. Then `run` monitors it."
        )
        for command in first_machine():
            self._console.say(f"  {command}", bold=True)
        return True

    def _fail(self, reason: str) -> bool:
        self._console.say(f"That went wrong: {reason}.", fg="yellow", bold=True)
        return False

    def _say(self, text: str) -> None:
        self._console.say(f"\n{text}")


def lasting(clips: Sequence[Path], hours: float) -> list[Path]:
    """Return clips, one after the other and again from the first, as many as last so long."""
    found: list[Path] = []
    left_s = 3600 * hours
    for path in itertools.cycle(clips):
        if left_s <= 0:
            return found
        found.append(path)
        left_s -= max(duration_s(path), 1.0)
    return found


def find_clips(recordings: Path) -> list[Clips]:
    """Return each machine's recordings below `recordings`, in the DCASE 2020 Task 2 layout.

    Raises AudioError when there is no machine with healthy training clips, healthy test clips and anomalies.
    """
    machines: dict[str, list[Path]] = {}
    for path in sorted(recordings.rglob("*")):
        match = re.fullmatch(r"(normal|anomaly)_(id_\d+)_\d+\.(wav|flac)", path.name)
        if match and path.parent.name in {"train", "test"}:
            machines.setdefault(f"{path.parent.parent.name} {match[2]}", []).append(path)
    found: list[Clips] = []
    for name, paths in machines.items():
        train = [path for path in paths if path.parent.name == "train"]
        healthy = [path for path in paths if path.parent.name == "test" and path.name.startswith("normal")]
        anomalous = [path for path in paths if path.name.startswith("anomaly")]
        if len(train) >= _ENOUGH_NORMALS and healthy and anomalous:
            found.append(Clips(name, train, healthy, anomalous))
    if found:
        return found
    raise AudioError(
        "no machine with enough recordings",
        where=str(recordings),
        hint="expected MACHINE/{train,test}/{normal,anomaly}_id_XX_*.wav or .flac",
    )
