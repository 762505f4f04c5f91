"""`listen` shows what a microphone or a file sounds like, and refuses what it cannot hear in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_monitor.capture.meter import meter
from edge_monitor.cli.listen import with_changes
from edge_monitor.node.live import Reading
from edge_monitor.node.verdict import Verdict
from edge_monitor.records import AudioLoss
from tests.sound_server import sound_server

MAIN = "from edge_monitor.cli.main import main; main()"


def edge_monitor(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(name="tone")
def tone_fixture(tmp_path: Path) -> Path:
    """Return a file of a second of silence on the left and a 1 kHz tone of amplitude 0.5 on the right."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    soundfile.write(tmp_path / "tone.wav", np.stack([np.zeros(16_000), tone], axis=1), 16_000)
    return tmp_path / "tone.wav"


def test_a_file_is_metered_as_json_lines(tone: Path) -> None:
    """Each half second is one JSON object with level, peak, clipping and bands."""
    told = edge_monitor("listen", tone, "--channel", "2", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    readings = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(readings) == 2
    assert readings[0]["level_dbfs"] == pytest.approx(-9.03, abs=0.05)
    assert readings[0]["peak_dbfs"] == pytest.approx(-6.02, abs=0.05)
    assert readings[0]["clipped_share"] == 0
    loudest = max(readings[0]["bands"], key=lambda band: float(band["level_dbfs"]))
    assert loudest["centre_hz"] == 1000


def test_off_a_terminal_each_reading_is_a_plain_line(tone: Path) -> None:
    """No control characters reach a log file."""
    told = edge_monitor("listen", tone, "--channel", "2", "--seconds", "0.4")
    assert told.returncode == 0
    (line,) = told.stdout.splitlines()
    assert line == "  -9.0 dBFS  peak   -6.0  63 Hz |        █     | 5600 Hz"


def test_a_configured_machine_is_metered(tmp_path: Path) -> None:
    """`--machine` listens to what the daemon would hear; an unknown name lists the known ones."""
    config = tmp_path / "edge-monitor.toml"
    config.write_text(
        '[node]\nsite = "plant-7"\nname = "edge-01"\nstate_dir = "state"\n'
        '[[machine]]\nname = "pump-3"\nsource = { kind = "simulator", seconds = 1, pace = "max", stops = [[5, 9]] }\n'
    )
    told = edge_monitor("listen", "--config", config, "--machine", "pump-3", "--json")
    verdict, *readings = [json.loads(line) for line in told.stdout.splitlines()]
    assert [-45 < reading["level_dbfs"] < -30 for reading in readings] == [True, True]
    assert verdict["verdict"]["level"] == "deaf"
    shown = edge_monitor("listen", "--config", config, "--machine", "pump-3").stdout.splitlines()
    assert shown[0] == "deaf: not enrolled: `edge-monitor enroll` while the machine is healthy"
    assert len(shown) == 3
    assert not (tmp_path / "state").exists()
    config.write_text(config.read_text() + '[model]\nbundle = "none-such"\n')
    unjudged = edge_monitor("listen", "--config", config, "--machine", "pump-3").stdout.splitlines()
    assert unjudged == shown[1:]
    refused = edge_monitor("listen", "--config", config, "--machine", "pump-4")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        f"edge-monitor: {config}: no machine is named 'pump-4' (machines: pump-3)",
    ]


def test_the_verdict_is_told_first_and_when_it_changes() -> None:
    """Of four readings the third finds the card unplugged: between them two lines say how it stands."""
    thin, deaf = Verdict("thin", "enrol more"), Verdict("deaf", "no sound comes")
    level = meter(np.full(8000, 0.5, dtype=np.float32), 16_000)
    readings = [Reading(meter=level, verdict=thin)] * 2 + [Reading(loss="unplugged", verdict=deaf)] * 2
    unplugged = AudioLoss("pump", 0.0, "unplugged")
    assert list(with_changes(readings, "pump")) == [thin, level, level, deaf, unplugged, unplugged]


def test_a_device_that_does_not_exist_is_refused_at_once() -> None:
    """A person who names a device wants to know now; only the daemon waits for it."""
    with sound_server():
        refused = edge_monitor("listen", "--device", "Zoom H6")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "edge-monitor: no input device matches 'Zoom H6' (inputs: 'pulse', 'default')",
    ]


def test_an_input_of_zeros_is_told_and_not_waited_for() -> None:
    """Nothing is plugged in: the command says so and ends after the seconds it was given."""
    with sound_server():
        heard = edge_monitor("listen", "--seconds", "0.5", "--json")
    assert heard.returncode == 0
    assert json.loads(heard.stdout) == {"loss": "the audio device gave nothing but zeros for 5 s"}


def test_two_things_to_listen_to_are_refused(tone: Path) -> None:
    """The command does not choose."""
    refused = edge_monitor("listen", tone, "--device", "default")
    assert refused.returncode == 2
    assert "give one of FILE, --machine and --device" in refused.stderr
