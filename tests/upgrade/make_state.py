"""Makes what a version of edge-monitor leaves behind for the next one, with that version's own commands.

    cd CHECKOUT && .venv/bin/python …/tests/upgrade/make_state.py …/tests/upgrade/states/NAME

CHECKOUT is the version's, set up with its own `scripts/setup.sh test`. Nothing of it is used but its commands, so that
the newest copy of this file serves every version.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import wave
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

RATE_HZ = 16_000
CLIP_S = 10
SCORED = {"healthy": 50, "knocking": 51}  # takes of the sounds whose scores are written down
PORT = 1  # where nobody listens: broker and LLM are away. The test puts others in
SOURCE = '{ kind = "recording", path = "sound", pace = "max" }'  # the test puts its own in
_FIRST_SCORER = '\nscorer = "euclidean"'  # of the first generation; the second has the bundle's own
_CONFIG = f"""\
[node]
site = "plant"
name = "edge"
state_dir = "state"

[model]
bundle = "spectral"

[mqtt]
host = "127.0.0.1"
port = {PORT}

[explain]
llm = "openai"
base_url = "http://127.0.0.1:{PORT}/v1"

[[machine]]
name = "pump"
display_name = "Cooling pump"
kind = "pump"
source = {SOURCE}

[machine.alarm]
off_delay_s = 10
update_interval_s = 20
"""


# --- sound ----------------------------------------------------------------------------------------------------------


def sound(take: int, *, knocking: bool = False) -> NDArray[np.int16]:
    """Return a clip of a pump, (frames,): whole numbers only, so that it is the same everywhere.

    It must stay the same: scores of it are written down with each state. Another sound is another function.
    """
    frames = CLIP_S * RATE_HZ
    at = np.arange(frames, dtype=np.int64)
    drawn = np.frombuffer(hashlib.shake_256(f"pump {take}".encode()).digest(2 * frames), np.uint8).astype(np.int64)
    coarse, fine = drawn[:frames], drawn[frames:]
    load = 900 + take % 7 * 10 + _triangle(at, 3 * RATE_HZ + 100 * take, 60)
    hum = sum(load * _triangle(at, period, height) for period, height in ((320, 400), (108, 300), (31, 150))) // 1000
    flow = (fine & 3) - (fine >> 2 & 3)
    knock = (coarse - 128) * 4 >> (at % 3_200 // 32) if knocking else 0  # five a second, each of a few ms
    return (hum + flow + knock).astype(np.int16)


def _triangle(at: NDArray[np.int64], period: int, height: int) -> NDArray[np.int64]:
    """Return a wave between -height and height, whole numbers."""
    return np.abs(at % period * 4 - 2 * period) * height // period - height


def write(path: Path, samples: NDArray[np.int16]) -> Path:
    """Write a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_scored(folder: Path) -> list[Path]:
    """Write the sounds whose scores are written down; return their files."""
    return [write(folder / f"{name}.wav", sound(take, knocking=name == "knocking")) for name, take in SCORED.items()]


# --- the state ------------------------------------------------------------------------------------------------------


def main(target: Path) -> None:
    """Make the state in a scratch folder, then write it and what is known of it into `target`."""
    commit = _commit()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = folder / "edge-monitor.toml"
        scored = write_scored(folder / "scored")
        _learn(config, folder)
        _hear(config, folder)
        made_ms = time.time_ns() // 1_000_000
        known = [_scores(config, scored, number) for number in (1, 2)]  # and the second is active again
        facts = _facts(config, folder / "state")
        target.mkdir(parents=True)
        (target / "edge-monitor.toml").write_text(config.read_text())
        (target / "about.toml").write_text(
            _toml({"commit": commit, "version": _edge_monitor("--version").split()[-1], "made_ms": made_ms, **facts})
            + "".join(f"\n[[score]]\n{_toml(score)}" for scores in known for score in scores)
        )
        _pack(folder / "state", target / "state.tar.gz")


def _commit() -> str:
    """Return the commit whose commands are used. Ends when they are not those of this folder's checkout."""
    package = _output(sys.executable, "-c", "import edge_monitor; print(edge_monitor.__file__)").strip()
    if Path(package).resolve().parent.parent != Path.cwd().resolve():
        sys.exit(f"call this in the version's checkout; its commands are those of {package}")
    if changed := _output("git", "status", "--porcelain", "edge_monitor", "models"):
        sys.exit(f"the checkout is not what its commit says:\n{changed}")
    return _output("git", "rev-parse", "HEAD").strip()


def _learn(config: Path, folder: Path) -> None:
    """Enrol eight clips, then one more in another way; that one's sound is kept."""
    for take in range(8):
        write(folder / f"first/healthy_{take}.wav", sound(take))
    write(folder / "second/healthy_8.wav", sound(8))
    config.write_text(_CONFIG.replace('"spectral"', f'"spectral"{_FIRST_SCORER}'))
    _edge_monitor("enroll", "--config", str(config), str(folder / "first"))
    config.write_text(_CONFIG)
    _edge_monitor("enroll", "--config", str(config), "--keep-audio", str(folder / "second"))


def _hear(config: Path, folder: Path) -> None:
    """Hear an alarm that ends and one that does not, while broker and LLM are away; then allow no more."""
    for number, knocking in enumerate([False] * 2 + [True] * 5 + [False] * 4 + [True] * 6):
        write(folder / f"sound/{number:02d}.wav", sound(20 + number, knocking=knocking))
    _edge_monitor("run", "--config", str(config))
    _edge_monitor("inhibit", "--config", str(config), "--minutes", "1440")


def _scores(config: Path, files: Iterable[Path], generation: int) -> list[dict[str, Any]]:
    """Have the sounds scored with a generation, which is active afterwards."""
    _edge_monitor("generations", "activate", "--config", str(config), str(generation))
    lines = _edge_monitor("score", "--config", str(config), "--json", *map(str, files)).splitlines()
    scores = [json.loads(line) for line in lines]
    wanted = ("generation", "scorer", "score", "threshold")
    return [{"sound": Path(score["file"]).stem, **{key: score[key] for key in wanted}} for score in scores]


def _facts(config: Path, state: Path) -> dict[str, Any]:
    """Return what the next version must find."""
    alarms = json.loads(_edge_monitor("alarms", "list", "--config", str(config), "--json"))
    [active] = [alarm for alarm in alarms if alarm["active"]]
    with closing(sqlite3.connect(f"file:{state / 'edge-monitor.db'}?mode=ro", uri=True)) as connection:
        waiting = connection.execute("SELECT topic, alarm_id, seq, payload FROM outbox ORDER BY id").fetchall()
        return {
            "schema": connection.execute("PRAGMA user_version").fetchone()[0],
            "bundle_hash": connection.execute("SELECT bundle_hash FROM generations WHERE active = 1").fetchone()[0],
            "active_alarm": active["alarm_id"],
            "active_seq": active["events"] - 1,
            "alarms": [alarm["alarm_id"] for alarm in alarms],  # newest first
            "pictures": [Path(alarm["evidence"]["picture"]).name for alarm in alarms],
            "open_explanations": connection.execute(
                "SELECT count(*) FROM explanations WHERE finished_ms IS NULL"
            ).fetchone()[0],
            "score_minutes": connection.execute("SELECT count(*) FROM score_minutes").fetchone()[0],
            "windows": connection.execute("SELECT sum(windows) FROM score_minutes").fetchone()[0],
            "outbox": [f"{hashlib.sha256(payload).hexdigest()} {topic}" for topic, _, _, payload in waiting],
        }


def _pack(state: Path, target: Path) -> None:
    """Write the state directory as it is, but for what every start makes anew."""

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if Path(entry.name).name in {"run", "lock", "reserve"}:
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(target, "w:gz") as archive:
        archive.add(state, "state", filter=kept)


# --- commands -------------------------------------------------------------------------------------------------------


def _edge_monitor(*arguments: str) -> str:
    return _output(sys.executable, "-m", "edge_monitor", *arguments)


def _output(*command: str) -> str:
    """Return what a command prints, run in the checkout."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def _toml(values: dict[str, Any]) -> str:
    """Return values as lines of TOML, which writes texts, numbers and lists as JSON does."""
    written = {key: json.dumps(value, indent=2 if isinstance(value, list) else None) for key, value in values.items()}
    return "".join(f"{key} = {value}\n" for key, value in written.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
