"""The deaf drill: what can make a monitor deaf, what is seen of it, and how it is undone.

docs/reliability.md has a row for each; tests/soak applies them at random.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP, Signals
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.export import spectral
from tests.broker import wait_until
from tests.faults.ear import BACK_S, MACHINE, RATTLING
from tests.pipe_microphone import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.records import Samples
    from tests.faults.ear import Ear

    Act = Callable[[Ear, str], object]  # takes the machine's name


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make a monitor deaf, or to try."""

    name: str
    deafen: Act
    mend: Act
    state: str  # what the plant is told of the machine
    text: str = ""  # with this in it
    limit_s: float = 60.0  # within which it is
    doctor: int = 1  # the exit code of `edge-monitor doctor`, within the same time
    node: bool = False  # it is done to the node, not to one machine
    slow: bool = False  # it takes half a minute until that is told
    ends: bool = False  # the daemon ends with exit code 1, within the same time, for systemd to start it again

    @property
    def row(self) -> str:
        """Return its row in docs/reliability.md."""
        text = f'"{self.text}"' if self.text else ""
        state = f"`{self.state}`" + (", then the daemon ends" if self.ends else "")
        return f"| {self.name} | {state} | {text} | {self.limit_s:.0f} | {self.doctor} |"


def _nothing(_ear: Ear, _machine: str) -> None:
    pass


def bent(bend: Callable[[Samples], Samples]) -> Act:
    """Return what has the sound bent on its way to the converter."""
    return lambda ear, machine: ear.hear(machine, bend)


def straight(ear: Ear, machine: str) -> None:
    """Let the sound through as it is."""
    ear.hear(machine)


def filtered(sound: Samples, gain: Callable[[Samples], Samples]) -> Samples:
    """Return a sound (frames,) that is heard again and again through a filter: the gain at each frequency, Hz."""
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    return np.asarray(np.fft.irfft(spectrum * gain(frequencies), len(sound)), dtype=np.float32)


def covered(sound: Samples) -> Samples:
    """Through a hand: 20 dB less, and 12 dB per octave above 250 Hz."""
    return filtered(sound, lambda hz: 0.1 / (1.0 + (hz / 250.0) ** 2))


def another(sound: Samples) -> Samples:
    """Through a microphone without lows and with a resonance at 4 kHz, 10 dB."""
    return filtered(sound, lambda hz: (hz / (hz + 500.0)) * (1.0 + 2.2 * np.exp(-(((hz - 4000.0) / 800.0) ** 2))))


def halved(sound: Samples) -> Samples:
    """At half the sample rate."""
    return filtered(sound, lambda hz: (hz < RATE_HZ / 4).astype(float))


def _server(number: Signals) -> Act:
    return lambda ear, _machine: ear.server.process.send_signal(number)


def ring(sound: Samples) -> Samples:
    """Keep a second of it, which is then heard again and again."""
    return sound[:RATE_HZ]


def offset(sound: Samples) -> Samples:
    """With half of full scale of DC."""
    return sound + np.float32(0.5)


def louder(sound: Samples) -> Samples:
    """20 dB louder."""
    return np.float32(10.0) * sound


def quieter(sound: Samples) -> Samples:
    """20 dB quieter."""
    return np.float32(0.1) * sound


def _stopped(stopped: bool) -> Act:
    return lambda ear, machine: setattr(ear.microphones[machine], "stopped", stopped)


def _kill_server(ear: Ear, _machine: str) -> None:
    ear.server.kill()
    for microphone in ear.microphones.values():
        microphone.forget()


def _start_server(ear: Ear, _machine: str) -> None:
    ear.server.start()
    for microphone in ear.microphones.values():
        microphone.plug()


def _said(payload: bytes) -> Act:
    return lambda ear, machine: ear.say(machine, payload)


def _reload(ear: Ear, _machine: str) -> None:
    ear.reload()


def _stop_broker(ear: Ear, _machine: str) -> None:
    ear.plant.broker.stop()


def _start_broker(ear: Ear, _machine: str) -> None:
    ear.plant.broker.start()


def _set(name: str, text: str | None) -> Act:
    return lambda ear, _machine: ear.set(name, text)


def _block_log(ear: Ear, _machine: str) -> None:
    ear.log.block()


def _read_log(ear: Ear, _machine: str) -> None:
    ear.log.blocked = False


def _stick(ear: Ear, machine: str) -> None:
    ear.stuck[machine] = b"stopped"


def _move(ear: Ear, machine: str) -> None:
    ear.stuck.pop(machine)
    ear.say(machine, b"")


def _say_once(ear: Ear, machine: str) -> None:
    """Say that the machine has stopped, and nothing ever after."""
    ear.say(machine, b"stopped")
    ear.wait_for("not-running", 10.0, machine)


def _damaged(table: str, column: str, value: object) -> tuple[Act, Act]:
    """Return what writes a value into the newest row of a machine and has it loaded, and what takes that back."""

    def deafen(ear: Ear, machine: str) -> None:
        query = f"SELECT rowid, {column} FROM {table} WHERE machine = ? ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - ours
        ear.kept[table, machine] = ear.write(query, machine)[0]
        write(ear, value, ear.kept[table, machine][0])

    def mend(ear: Ear, machine: str) -> None:
        rowid, before = ear.kept.pop((table, machine))
        write(ear, before, rowid)

    def write(ear: Ear, new: object, rowid: object) -> None:
        ear.write(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", new, rowid)  # noqa: S608 - as above
        ear.reload()

    return deafen, mend


def _frozen(thread: str) -> tuple[Act, Act]:
    return _set(thread, ""), _set(thread, None)


_DOCTOR_S, _PROBE_S = 60.0, 30.0
COVERED = "microphone covered"
_NO_SOUND = "the audio device gave no sound for 5 s"
_NOT_JUDGED = "no window could be judged for"
_NAN = np.full(spectral.DIM, np.nan, dtype="<f4").tobytes()

# To what one microphone hears.
SOUND = (
    Way(
        "microphone unplugged",
        lambda ear, machine: ear.microphones[machine].unplug(),
        lambda ear, machine: ear.microphones[machine].plug(),
        "no-audio",
        "the audio device gave nothing but zeros for 5 s",
        limit_s=10,
    ),
    Way("driver stops without an error", _stopped(True), _stopped(False), "no-audio", _NO_SOUND, limit_s=10),
    Way(COVERED, bent(covered), straight, "sensor-changed", "microphone covered or gone", slow=True),
    Way("driver plays its ring again and again", bent(ring), straight, "signal-fault", "repeats itself exactly every"),
    Way("digital silence", bent(np.zeros_like), straight, "no-audio", "nothing but zeros for 5 s", limit_s=10),
    Way("DC of half the range", bent(offset), straight, "signal-fault", "DC offset of 0."),
    Way("gain +20 dB", bent(louder), straight, "sensor-changed", "dB louder than learnt"),
    Way("gain -20 dB", bent(quieter), straight, "sensor-changed", "dB quieter than learnt"),
    Way("half the bandwidth", bent(halved), straight, "sensor-changed", "nothing is heard above"),
    Way("another microphone", bent(another), straight, "alarm", doctor=0),
)
WAYS = (
    *SOUND,
    Way("sound server killed", _kill_server, _start_server, "no-audio", limit_s=10, node=True),
    Way("sound server hangs", _server(SIGSTOP), _server(SIGCONT), "no-audio", _NO_SOUND, limit_s=10, node=True),
    Way("run topic stuck at `stopped`", _stick, _move, "signal-fault", "as loud as when it ran", slow=True),
    Way("run topic empty", _said(b""), _nothing, "normal", doctor=0),
    Way("run topic dead after `stopped` (`max_age_s`)", _say_once, _said(b""), "normal", doctor=0),
    Way("threshold infinite", *_damaged("generations", "threshold", np.inf), "not-enrolled", "its threshold is inf"),
    Way("NaN in a normal", *_damaged("normals", "vector", _NAN), "not-enrolled", "values no embedding has"),
    Way(
        "disk full",
        _set("disk", "F"),
        _set("disk", None),
        "storage-fault",
        "could not be written: ",
        node=True,
        slow=True,
    ),
    Way("log not read", _block_log, _read_log, "normal", doctor=0, node=True),
    Way("broker stopped", _stop_broker, _start_broker, "normal", node=True),
    Way("clock steps by an hour", _set("wall", "3600"), _set("wall", None), "normal", doctor=0, node=True),
    Way("reload in the middle of a window", _reload, _nothing, "normal", doctor=0, node=True),
    Way("source thread hangs", *_frozen("source"), "no-audio", _NOT_JUDGED, node=True),
    Way(
        "storage thread hangs",
        *_frozen("storage"),
        "storage-fault",
        "the disk has not answered for 10 s",
        node=True,
        slow=True,
    ),
    Way("main thread hangs", *_frozen("main"), "normal", node=True),
    Way("pipeline thread hangs", *_frozen("pipeline"), "no-audio", _NOT_JUDGED, node=True, ends=True),
    Way("publisher thread hangs", *_frozen("publisher"), "normal", node=True, ends=True),
    Way("API thread hangs", *_frozen("api"), "normal", node=True, ends=True),
)


def hold(way: Way, ear: Ear) -> None:
    """Have one machine, or the node, made deaf and mended, and assert what must be seen in time."""
    began_s = time.monotonic()
    way.deafen(ear, MACHINE)
    try:
        wait_until(lambda: _seen(ear, way), way.limit_s, f"{way.state}: {way.text}")
        left_s = _DOCTOR_S + began_s - time.monotonic()
        wait_until(lambda: ear.plant.product.command("doctor").returncode == way.doctor, left_s, "doctor's exit code")
        if way.ends:
            left_s = way.limit_s + began_s - time.monotonic()
            wait_until(lambda: ear.ended() == 1, left_s, "the end of the daemon")
        if way.state == "normal" and way.doctor == 0:
            ear.hear(MACHINE, sound=RATTLING)
            ear.wait_for("alarm", _PROBE_S)
    finally:
        way.mend(ear, MACHINE)
        if ear.ended() is not None:
            ear.plant.start()
        ear.hear(MACHINE)
        ear.wait_for("normal", BACK_S)


def _seen(ear: Ear, way: Way) -> bool:
    told = ear.told()
    return told["state"] == way.state and way.text in told["text"]
