"""A node that hears machines through microphones of its own, and everything about it that can be broken.

Windows of the embedded bundle are 10 s long; here they are made 2 s long, so that a minute is enough for each fault.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from paho.mqtt import publish

from edge_monitor.capture.quality import level_dbfs
from edge_monitor.export import spectral
from tests.broker import wait_until
from tests.faults.oracle import BASE, Plant
from tests.faults.preload import compiled
from tests.pipe_microphone import RATE_HZ, PipeMicrophone
from tests.product import Product
from tests.sound_server import sound_server
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_monitor.records import Samples
    from tests.sound_server import SoundServer

WINDOW_S = 2.0
BACK_S = 60.0  # after it was mended a machine is heard again
HEALTHY, RATTLING = pump(20, take=1), pump(20, take=2, fault="rattle", fault_db=6.0)
STANDING = pump(20, take=1, stops=[[0.0, 30.0]])
MACHINE = "pump"  # the first one
TOPIC_AGE_S = 15.0  # for so long a run topic is believed
_REPEATED_S = 5.0  # after so long one that is stuck says the same again
_LEARNT_S = 240.0  # of sound
_SOURCE = '{{ kind = "microphone", device = "mic-{name}", rate_hz = {rate} }}'
_ALARM = f"""
evidence = "off"
[machine.alarm]
raise = [2, 2]
off_delay_s = 2
[machine.running]
settle_s = 2
topic = "plant/{{name}}/runs"
max_age_s = {TOPIC_AGE_S:g}
"""
_MACHINE = '[[machine]]\nname = "{name}"\nsource = {source}\n{rest}'
_HERE = Path(__file__).parent


@dataclass
class Log:
    """Reads what the daemon writes to standard error, unless it is told not to."""

    pipe: Path
    into: Path
    blocked: bool = False

    def __post_init__(self) -> None:
        """Open the pipe for as long as this lives."""
        os.mkfifo(self.pipe)
        self._pipe = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK)  # written to by this process when it is blocked
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def block(self) -> None:
        """Read no more, and leave no room in the pipe."""
        self.blocked = True
        try:
            while True:
                os.write(self._pipe, b"\n" * 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Let go of it."""
        self._done.set()
        self._thread.join()
        os.close(self._pipe)

    def _read(self) -> None:
        with self.into.open("ab", buffering=0) as log:
            while not self._done.wait(0.05):
                try:
                    while not self.blocked:
                        log.write(os.read(self._pipe, 1 << 16))
                except BlockingIOError:
                    continue


@dataclass
class Ear:
    """A plant whose daemon listens to the inputs of `microphones`, by machine."""

    server: SoundServer
    microphones: dict[str, PipeMicrophone]
    plant: Plant
    log: Log
    faults: Path  # a folder of files: `disk`, see failing_disk.c, `wall`, see stepping_clock.c, and see freezable.py
    stuck: dict[str, bytes] = field(default_factory=dict)  # what run topics say again and again, by machine
    kept: dict[Any, Any] = field(default_factory=dict)  # what was there before it was damaged

    def __post_init__(self) -> None:
        """Begin to say what run topics say."""
        self._done = threading.Event()
        self._sticking = threading.Thread(target=self._stick, daemon=True)
        self._sticking.start()

    def close(self) -> None:
        """Say nothing more, and mend what can be."""
        self._done.set()
        self._sticking.join()
        self.log.blocked = False
        for file in self.faults.iterdir():
            file.unlink()

    def _stick(self) -> None:
        while not self._done.wait(_REPEATED_S):
            for machine, payload in dict(self.stuck).items():
                with suppress(OSError):  # the broker may be away
                    self.say(machine, payload)

    def begin(self) -> None:
        """Plug in all microphones; how quiet the hall is, is known as if the machines had stood three times."""
        for machine, microphone in self.microphones.items():
            microphone.plug()
            query = "UPDATE generations SET standing_dbfs = ? WHERE machine = ? AND active = 1"
            self.write(query, level_dbfs(STANDING), machine)
        self.reload()
        for machine in self.microphones:
            self.wait_for("normal", BACK_S, machine)

    # --- what is seen -----------------------------------------------------------------------------------------------

    def told(self, machine: str = MACHINE) -> dict[str, Any]:
        """Return the newest state of a machine that the plant was told."""
        messages = self.plant.scada.on(f"{BASE}/{machine}/state")
        told: dict[str, Any] = json.loads(messages[-1].payload) if messages else {"state": "none", "text": ""}
        return told

    def shown(self, machine: str = MACHINE) -> tuple[str, str]:
        """Return state and text of a machine as the daemon answers."""
        [found] = [each for each in self.plant.product.status()["machines"] if each["machine"] == machine]
        return found["state"], found["text"]

    @property
    def dropped_frames(self) -> int:
        """Return how many frames are counted as lost."""
        dropped: int = self.plant.product.status()["dropped_frames"]
        return dropped

    @property
    def children(self) -> list[int]:
        """Return the process ids of the capture children; fewer while one is begun anew."""
        assert self.plant.daemon is not None
        tasks = Path(f"/proc/{self.plant.daemon.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text("ascii").split()]

    def child(self, machine: str) -> int:
        """Return the process id of a machine's capture child, once there is one."""

        def found() -> list[int]:
            return [pid for pid in self.children if f"mic-{machine}" in Path(f"/proc/{pid}/cmdline").read_text()]

        wait_until(found, 10.0, "a capture process")
        return found()[0]

    def wait_for(self, state: str, seconds: float, machine: str = MACHINE) -> None:
        """Wait until the plant is told this state."""
        wait_until(lambda: self.told(machine)["state"] == state, seconds, f"{state} of {machine}")

    def ended(self) -> int | None:
        """Return the exit code of the daemon; None while it runs."""
        assert self.plant.daemon is not None
        return self.plant.daemon.process.poll()

    # --- what is done -----------------------------------------------------------------------------------------------

    def hear(self, machine: str, bend: Callable[[Samples], Samples] | None = None, sound: Samples = HEALTHY) -> None:
        """Have the machine's microphone hear its sound, bent by its way to the converter."""
        heard = sound if bend is None else bend(sound)
        self.microphones[machine].play(np.clip(heard, -1.0, 1.0))

    def signal(self, machine: str, number: int) -> None:
        """Send a signal to a machine's capture child, once there is one."""
        os.kill(self.child(machine), number)

    def say(self, machine: str, payload: bytes) -> None:
        """Publish on the machine's run topic, retained."""
        publish.single(
            f"plant/{machine}/runs", payload, qos=1, retain=True, hostname="127.0.0.1", port=self.plant.broker.port
        )

    def set(self, name: str, text: str | None) -> None:
        """Write a file of `faults`; None: remove it."""
        path = self.faults / name
        if text is None:
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)

    def reload(self) -> None:
        """Have the daemon begin anew with another setting."""
        product = self.plant.product
        product.score_interval_s = 1.0 - product.score_interval_s
        done = product.command("reload")
        assert done.returncode == 0, done.stderr

    def write(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Change the database as a failing disk may; return the rows that the statement yields."""
        path = self.plant.product.state / "edge-monitor.db"
        with closing(sqlite3.connect(path, timeout=20.0)) as connection, connection:
            return connection.execute(statement, values).fetchall()


def make_state(folder: Path) -> None:
    """Make `bundle`, and `state`: of a node whose one machine, the first, is enrolled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectral, "WINDOW_S", WINDOW_S)
        spectral.build().write(folder / "bundle")
    clips = write_clips(folder / "healthy", "healthy", pump(_LEARNT_S, take=1))
    product = Product(folder, _source(MACHINE), bundle=str(folder / "bundle"))
    done = product.command("enroll", *map(str, clips))
    assert done.returncode == 0, done.stderr


def _source(name: str) -> str:
    return _SOURCE.format(name=name, rate=RATE_HZ)


@contextmanager
def listening(folder: Path, made: Path, machines: Sequence[str] = (MACHINE,)) -> Iterator[Ear]:
    """Run a node that hears these machines, `MACHINE` first, each by a microphone of its own, not yet plugged in."""
    with ExitStack() as stack:
        server = stack.enter_context(sound_server())
        server.name_inputs(*(f"mic-{name}" for name in machines))
        faults = folder / "faults"
        faults.mkdir()
        log = Log(folder / "log", folder / "daemon.log")
        stack.callback(log.close)
        others = [
            _MACHINE.format(name=each, source=_source(each), rest=_ALARM.format(name=each)) for each in machines[1:]
        ]
        plant = Plant(
            folder,
            made / "state",
            folder,
            source=_source(MACHINE),
            extra="\n".join([_ALARM.format(name=MACHINE), *others]),
            environment=dict(server.environment),
            prefix=_prefix(folder, faults, log.pipe),
        )
        plant.product.bundle = str(made / "bundle")
        if others:
            _teach(plant.product, machines, folder / "normals")
        microphones = {}
        for name in machines:
            microphone = PipeMicrophone(server, server.folder / f"mic-{name}", f"mic-{name}", HEALTHY)
            microphones[name] = stack.enter_context(microphone)
        stack.enter_context(plant)
        ear = Ear(server, microphones, plant, log, faults)
        stack.callback(ear.close)
        yield ear
        ear.close()
        plant.stop()


def _prefix(folder: Path, faults: Path, log: Path) -> tuple[str, ...]:
    libraries = [str(compiled(source, folder)) for source in ("failing_disk.c", "stepping_clock.c")]
    return (
        "env",
        f"LD_PRELOAD={':'.join(libraries)}",
        f"FAIL_DIR={folder / 'state'}",
        f"FAIL_HOW={faults / 'disk'}",
        f"WALL_OFFSET={faults / 'wall'}",
        *("sh", "-c", f'exec "$@" 2>"{log}"', "sh"),
        *(sys.executable, str(_HERE / "freezable.py"), str(faults)),
    )


def _teach(product: Product, machines: Sequence[str], folder: Path) -> None:
    """Have the other machines know what the first one does."""
    steps = [
        ("normals export", MACHINE, str(folder)),
        *(("normals import", each, str(folder)) for each in machines[1:]),
    ]
    for verb, machine, path in steps:
        done = product.command(verb, "--machine", machine, path)
        assert done.returncode == 0, done.stderr
