"""The demo's course: configuration, daemon, enrolment, fault, alert, evidence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edge_monitor.demo.broker import embedded_broker
from edge_monitor.demo.subscriber import watching
from edge_monitor.errors import AudioError, EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.demo.subscriber import Scada

PACE = 40.0  # times as fast as real time: half an hour of the machine in less than a minute
ENROL_MINUTES = 10
FAULT_AT_S = 1000.0  # the enrolment ends before 800 s even where a command takes 5 s to start
HEALTHY_END_S = 1300.0
_PATIENCE_S = 120.0
_ENOUGH_NORMALS = 5  # k + 1

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
    train: tuple[Path, ...]  # healthy, to enrol
    play: tuple[Path, ...]  # healthy ones, then anomalous ones
    healthy: int  # how many of `play` are healthy


def run_simulated(folder: Path, *, seed: int, faulty: bool) -> bool:
    """Enrol a simulated pump live, let a bearing fail (or not), and return whether the alerts were right."""
    ending = f'fault = "bearing", fault_at_s = {FAULT_AT_S:g}' if faulty else f"seconds = {HEALTHY_END_S:g}"
    source = f'{{ kind = "simulator", machine = "pump", seed = {seed}, pace = {PACE:g}, {ending} }}'
    with embedded_broker() as port, watching(port) as scada:
        config = _configure(folder, port=port, name="pump-3", title="Cooling pump 3", kind="pump", source=source)
        _say(f"A simulated pump, {PACE:g} times as fast as real time. The daemon starts and knows no normal sound yet.")
        with _daemon(config) as daemon:
            _say(f"Its healthy sound is enrolled live: {ENROL_MINUTES} minutes of it.")
            _edge_monitor("enroll", config, "--live", str(ENROL_MINUTES))
            if scada.alerts:
                return _fail("an alert came while nothing was wrong")
            if not faulty:
                _say("Nothing is wrong with this one; until it ends there should be no alert.")
                daemon.wait(_PATIENCE_S)
                if scada.alerts:
                    return _fail("an alert came although nothing was wrong")
                return _finish(config, "No alert came, as it should be.")
            _say(f"It is monitored now. At {FAULT_AT_S:g} s of its time a bearing begins to fail.")
            if not scada.wait_for_alert(_PATIENCE_S):
                return _fail("no alert came")
            if (at_s := scada.alerts[0]["window_end_s"]) < FAULT_AT_S:
                return _fail(f"the alert came at {at_s:.0f} s, before the fault")
            return _show_alert(config, scada, f"{at_s - FAULT_AT_S:.0f} s of its time after the fault set in")


def run_recordings(folder: Path, recordings: Path, only: str | None) -> bool:
    """Enrol healthy recordings of one machine, play others, anomalous ones last; return whether an alert came."""
    found = find_clips(recordings)
    clips = next((each for each in found if only in {None, each.name}), None)
    names = ", ".join(repr(each.name) for each in found)
    if clips is None:
        raise AudioError(f"no machine {only!r}", where=str(recordings), hint=f"there are {names}")
    _say(f"Found {names}; --only NAME chooses.")
    playlist = folder / "playlist"
    playlist.mkdir()
    for number, path in enumerate(clips.play):
        (playlist / f"{number:03d}_{path.name}").symlink_to(path.resolve())
    source = '{ kind = "recording", path = "playlist", pace = "max" }'
    with embedded_broker() as port, watching(port) as scada:
        config = _configure(folder, port=port, name="machine-1", title=clips.name, kind="machine", source=source)
        _say(f"{clips.name}: {len(clips.train)} healthy recordings are enrolled.")
        _edge_monitor("enroll", config, *map(str, clips.train))
        _say(f"{clips.healthy} other healthy recordings are played, then {len(clips.play) - clips.healthy} anomalous.")
        with _daemon(config) as daemon:
            daemon.wait(_PATIENCE_S)
        if not scada.alerts:
            _edge_monitor("score", config, *map(str, clips.play[clips.healthy :]))
            return _fail(
                f"no alert came: too few of these anomalies stand out from {len(clips.train)} healthy recordings"
            )
        return _show_alert(config, scada, f"at {scada.alerts[0]['window_end_s']:.0f} s of what was played")


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
        train = tuple(path for path in paths if path.parent.name == "train")
        healthy = [path for path in paths if path.parent.name == "test" and path.name.startswith("normal")]
        anomalous = [path for path in paths if path.name.startswith("anomaly")]
        if len(train) >= _ENOUGH_NORMALS and healthy and anomalous:
            found.append(Clips(name, train, (*healthy, *anomalous), len(healthy)))
    if found:
        return found
    raise AudioError("no machine with enough recordings", where=str(recordings),
                     hint="expected MACHINE/{train,test}/{normal,anomaly}_id_XX_*.wav or .flac")  # fmt: skip


def _configure(folder: Path, **values: object) -> Path:
    config = folder / "edge-monitor.toml"
    config.write_text(_CONFIG.format(**values))
    _say(f"The configuration is {config}; what SCADA receives is in colour.")
    return config


@contextmanager
def _daemon(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon beside the body; its log goes to a file."""
    click.secho(f"$ edge-monitor run --config {config}", bold=True)
    log = config.with_name("daemon.log")
    with log.open("wb") as output:
        daemon = subprocess.Popen([*_command(), "run", "--config", str(config)], stdout=output, stderr=output)
        try:
            deadline_s = time.monotonic() + _PATIENCE_S
            while not (config.parent / "state" / "run" / "control.sock").exists():
                if daemon.poll() not in (None, 0) or time.monotonic() > deadline_s:
                    raise EdgeMonitorError("the daemon did not start", where=str(log), hint="read the log")
                if daemon.poll() == 0:
                    break
                time.sleep(0.05)  # the socket shows that it takes questions
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(_PATIENCE_S)


def _edge_monitor(verb: str, config: Path, *arguments: str) -> None:
    shown = arguments if len(arguments) < 3 else (*arguments[:1], "…")  # noqa: PLR2004 - a line must stay readable
    click.secho(f"$ edge-monitor {verb} --config {config} {' '.join(shown)}", bold=True)
    sys.stdout.flush()
    subprocess.run([*_command(), *verb.split(), "--config", str(config), *arguments], check=True)


def _command() -> list[str]:
    return [sys.executable, "-m", "edge_monitor"]


def _show_alert(config: Path, scada: Scada, when: str) -> bool:
    alert = scada.alerts[0]
    picture = config.parent / "state" / "evidence" / alert["evidence"]
    deadline_s = time.monotonic() + 10.0
    while not picture.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)  # the picture is drawn after the alert has gone
    _say(f"The alert came {when}.")
    _edge_monitor("alarms show", config, alert["alarm_id"])
    return _finish(config, f"Look at the picture: {picture}")


def _finish(config: Path, conclusion: str) -> bool:
    command = "edge-monitor" if shutil.which("edge-monitor") else sys.argv[0]
    _say(conclusion)
    click.echo(f"Next, your own machine: {command} config init && {command} devices")
    click.echo(f"To tidy up:             rm -r {config.parent}")
    return True


def _fail(reason: str) -> bool:
    click.secho(f"That went wrong: {reason}.", fg="yellow", bold=True)
    return False


def _say(text: str) -> None:
    click.echo(f"{os.linesep}{text}")
