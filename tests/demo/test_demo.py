"""`edge-monitor demo` on a console: whole lines, a way on, and nothing left running."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_monitor.demo.commands import first_machine, typed
from tests.broker import wait_until
from tests.sounds import pump, write_clips
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).with_name("edge-monitor")
DEMO = [str(COMMAND), "demo"]
MESSAGE = re.compile(r"   edge-monitor/v1/demo/edge-01/([a-z0-9-]+/)?(state|alert|status)  [a-z-]+(  .*)?")
BAR = re.compile(r"Listening .*\[[#-]+\] +\d+ %(, \d+ s left)?")


@pytest.fixture(name="folder")
def folder_fixture() -> Iterator[Path]:
    """Return an empty folder with a short path, the demo's TMPDIR: a socket's path has 107 characters at the most."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


def left_running(folder: Path) -> list[str]:
    """Return the command lines that name the folder or its demo."""
    return [
        " ".join(each.info["cmdline"] or ())
        for each in psutil.process_iter(["cmdline"])
        if any(str(folder) in part for part in each.info["cmdline"] or ())
    ]


def typed_line(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Type a line into a shell there."""
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_messages_stand_above_the_bar_and_ctrl_c_ends_all_of_it(folder: Path) -> None:
    """On a serial console nothing shares a line with the bar, which is whole; then no process and no folder is left."""
    with Terminal(80) as terminal:
        demo = terminal.run(DEMO, os.environ | {"TERM": "vt100", "TMPDIR": str(folder)})
        terminal.read_until(lambda: re.search(r" [34]\d %", terminal.text), 60.0)
        terminal.press(b"\x03")
        terminal.read_until(lambda: demo.poll() is not None, 30.0)
        terminal.read()
    lines = terminal.lines
    assert demo.returncode == 130
    assert "Traceback" not in terminal.text
    assert len([line for line in lines if BAR.fullmatch(line.removesuffix("^C"))]) == 1
    assert "".join(lines).count("Listening") == 1
    assert MESSAGE.fullmatch(next(line for line in lines if "/state  learning" in line))
    assert (left_running(folder), list(folder.iterdir())) == ([], [])


def test_a_closed_terminal_ends_all_of_it(folder: Path) -> None:
    """SIGHUP ends the daemon and the broker as well, whatever else it means to them."""
    demo = subprocess.Popen(DEMO, stdout=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(folder)})
    wait_until(lambda: any("control.sock" in str(path) for path in folder.rglob("*")), 60.0, "the daemon")
    demo.send_signal(signal.SIGHUP)
    assert demo.wait(30) == 129
    assert (left_running(folder), list(folder.iterdir())) == ([], [])


def test_the_last_three_lines_work_as_typed_in_another_folder(folder: Path) -> None:
    """The demo with recordings ends with what leads to a first own machine."""
    for part, healthy, samples in (
        ("train", True, pump(200)),
        ("test", True, pump(40, seed=1)),
        ("test", False, pump(80, fault="bearing")),
    ):
        kind = "normal" if healthy else "anomaly"
        write_clips(folder / "clips/pump" / part, f"{kind}_id_00", samples)
    with Terminal(200) as terminal:
        demo = terminal.run(
            [*DEMO, "--recordings", str(folder / "clips"), "--dir", str(folder / "demo")],
            os.environ | {"TERM": "vt100"},
        )
        terminal.read_until(lambda: demo.poll() is not None, 120.0)
        terminal.read()
    lines = terminal.lines
    assert demo.returncode == 0, "\n".join(lines)
    messages = [line for line in lines if "edge-monitor/v1/" in line]
    assert all(MESSAGE.fullmatch(message) for message in messages), messages
    assert any("/alert  start  " in message for message in messages)
    assert "Enrolling  [########################################]  100 %" in lines
    assert lines.count(f"To tidy up: rm -r {folder}/demo") == 1

    *_, devices, init, enroll, end = lines
    assert end == ""
    own = folder / "own"
    own.mkdir()
    for line in (devices, init):
        done = typed_line(line, own)
        assert done.returncode == 0, done.stderr
    config = own / "edge-monitor.toml"
    simulated = 'source = { kind = "simulator", machine = "pump", pace = "max" }'
    text = re.sub("(?m)^source = .*", simulated, config.read_text())
    config.write_text(text.replace('"/var/lib/edge-monitor"', '"state"'))
    done = typed_line(enroll, own)
    assert done.stdout.startswith("pump-3: 7.5 min of normal sound from 15 recordings; "), done.stderr


def test_in_a_log_there_is_no_control_character_and_an_interrupt_leaves_nothing(folder: Path) -> None:
    """Ctrl-C in the middle, in plain ASCII: no traceback, no process, no folder; until then a line now and then."""
    environment = os.environ | {"TMPDIR": str(folder), "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "xterm"}
    log = folder / "log"
    with log.open("wb") as output:
        demo = subprocess.Popen(DEMO, stdout=output, stderr=output, env=environment)
    wait_until(lambda: "Listening: 20 %" in log.read_text(), 60.0, "a fifth")
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 130
    told = log.read_bytes().decode("ascii")
    assert [sign for sign in told if sign < " " and sign != "\n"] == []
    assert "Traceback" not in told
    assert told.count("$ edge-monitor enroll --config ") == 1
    assert left_running(folder) == []
    assert list(folder.iterdir()) == [log]


@pytest.mark.parametrize("there", [False, True])
def test_the_three_commands_are_as_this_user_types_them(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside PATH the command has its whole path, `~` and quotes included; an own configuration is checked."""
    checkout = tmp_path / "a home/my checkout"
    (checkout / "bin").mkdir(parents=True)
    (checkout / "bin/edge-monitor").touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "a home"))
    monkeypatch.setattr(sys, "argv", ["a home/my checkout/bin/edge-monitor", "demo"])
    if there:
        (tmp_path / "edge-monitor.toml").touch()
    command = "~/'my checkout/bin/edge-monitor'"
    assert first_machine() == (
        f"{command} devices",
        f"{command} config check --config edge-monitor.toml"
        if there
        else f"{command} config init --path edge-monitor.toml",
        f"{command} enroll --config edge-monitor.toml --live 10",
    )
    monkeypatch.setenv("PATH", str(checkout / "bin"))
    assert first_machine()[0] == "edge-monitor devices"
    assert typed(Path("/a b")) == shlex.quote("/a b")
