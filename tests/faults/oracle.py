"""One oracle for every fault: a plant that listens, a node that hears a pump fail again and again, and what must hold.

with Plant(folder, enrolled_state, turns) as plant:
    plant.wait_for_alarms(1)
    …the fault…
    plant.check()
"""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.broker import Broker, Subscriber, wait_until
from tests.faults.certificates import Authority
from tests.faults.ledger import keep_ledger, read_ledger
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from tests.broker import Received
    from tests.faults.ledger import Committed
    from tests.product import Daemon

BASE = "edge-monitor/v1/plant/edge"
ALERT = f"{BASE}/pump/alert"
NODE_USER, NODE_PASSWORD = "edge", "the-node's-own-password"  # of a broker that lives for one test
SCADA_USER, SCADA_PASSWORD = "scada", "the-plant's-own-password"
PROBE_S = 30.0  # a fresh alarm is out within this
TURN_S = 100.0  # of sound: half of it healthy, half faulty, so one alarm starts and ends in each turn
PACE = 20.0
_DURABLE = ("/alert", "/condition", "/explanation")
_QUICK_END = "[machine.alarm]\noff_delay_s = 10"


@dataclass
class Plant:
    """A broker, a subscriber with a durable session, and one node whose pump fails once in each turn of its recording.

    The broker keeps the subscriber's session over `stop()` and `start()`; what it had not handed on when it is
    killed is lost behind the promises' end.

    `turns` is a WAV file of one turn, healthy sound first. `source` replaces it. `secure`: TLS and passwords;
    `acl`: lines of a mosquitto ACL file. `mqtt`, `tables`, `extra` go into the configuration, see Product; `prefix`
    goes before the daemon's command line.
    """

    folder: Path
    enrolled: Path  # a state directory that knows the healthy pump; copied
    turns: Path
    source: str | None = None
    secure: bool = False
    authenticates_by: str = "file"  # or "config", "credential"
    acl: Iterable[str] = ()
    broker_options: Iterable[str] = ()
    broker_starts: bool = True
    score_interval_s: float = 0.0
    model: str = ""
    mqtt: str = ""
    tables: str = ""
    extra: str = _QUICK_END
    environment: dict[str, str] = field(default_factory=dict)
    run_options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()

    # --- the parts --------------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        """Make the parts; nothing runs yet."""
        self._stack = ExitStack()
        self._daemons = ExitStack()
        broker = self.folder / "broker"
        broker.mkdir(exist_ok=True)
        options = [*self.broker_options, "max_queued_messages 0", *self._secrets(broker), *self._rights(broker)]
        self.broker = Broker(broker, "persistence true", f"persistence_location {broker}/", *options)
        self.product = Product(
            self.folder,
            self.source or f'{{ kind = "recording", path = "{self.turns}", pace = {PACE}, loop = true }}',
            mqtt_port=self.broker.port,
            score_interval_s=self.score_interval_s,
            model=self.model,
            mqtt=self._mqtt(broker),
            tables=self.tables,
            extra=self.extra,
            environment=self.environment,
            run_options=self.run_options,
            prefix=self.prefix,
        )
        if not self.product.state.exists():
            self.product.state.mkdir(mode=0o710)
        shutil.copytree(self.enrolled, self.product.state, dirs_exist_ok=True)
        keep_ledger(self.product.state)
        self.daemon: Daemon | None = None

    def _secrets(self, folder: Path) -> list[str]:
        if not self.secure:
            return []
        self.authority = Authority(folder)
        passwords = folder / "passwords"
        passwords.write_text(f"{NODE_USER}:{NODE_PASSWORD}\n{SCADA_USER}:{SCADA_PASSWORD}\n")
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
        self.identity = self.authority.issue()
        return [*self.identity.listener, "allow_anonymous false", f"password_file {passwords}"]

    def _rights(self, folder: Path) -> list[str]:
        if not self.acl:
            return []
        (folder / "acl").write_text("\n".join(self.acl) + "\n")
        return [f"acl_file {folder / 'acl'}"]

    def _mqtt(self, folder: Path) -> str:
        if not self.secure:
            return self.mqtt
        (folder / "password").write_text(NODE_PASSWORD + "\n")
        password = {
            "file": f'password_file = "{folder / "password"}"',
            "config": f'password = "{NODE_PASSWORD}"',
            "credential": 'password_credential = "password"',  # the test sets CREDENTIALS_DIRECTORY to folder/broker
        }[self.authenticates_by]
        return f'{self.mqtt}\nusername = "{NODE_USER}"\n{password}\n[mqtt.tls]\nca_file = "{self.authority.ca_file}"'

    def __enter__(self) -> Self:
        """Start the broker, the subscriber and the daemon (`broker_starts = False`: the daemon alone)."""
        try:
            if self.broker_starts:
                self.start_broker()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that still runs."""
        self._daemons.close()
        self._stack.close()

    def start_broker(self) -> None:
        """Start the broker and the subscriber for the first time."""
        self._stack.enter_context(self.broker)
        self.scada = self._stack.enter_context(
            Subscriber(
                self.broker.port,
                session="scada",
                username=SCADA_USER if self.secure else None,
                password=SCADA_PASSWORD if self.secure else None,
                ca_file=self.authority.ca_file if self.secure else None,
            )
        )

    def start(self) -> None:
        """Start the daemon, and return when it answers."""
        self.daemon = self._daemons.enter_context(self.product.daemon())

    def kill(self) -> None:
        """SIGKILL the daemon."""
        assert self.daemon is not None
        self.daemon.kill()

    def stop(self, seconds: float = 5.0) -> None:
        """End the daemon in an orderly way, which takes so long at the most."""
        assert self.daemon is not None
        assert self.daemon.stop(seconds) == 0, self.daemon.log.read_text()[-2000:]

    # --- what is known ----------------------------------------------------------------------------------------------

    def committed(self) -> list[Committed]:
        """Return every message that the node has promised, in order of commitment."""
        return read_ledger(self.product.state)

    def delivered(self) -> list[Received]:
        """Return every alert, condition and explanation the subscriber got, in order, repetitions included."""
        return [message for message in list(self.scada.messages) if message.topic.endswith(_DURABLE)]

    def alarms(self) -> set[str]:
        """Return the ids of all alarms of which the subscriber saw the start."""
        alerts = [json.loads(message.payload) for message in self.delivered() if message.topic.endswith("/alert")]
        return {alert["alarm_id"] for alert in alerts if alert["event"] == "start"}

    def wait_for_alarms(self, count: int, seconds: float = 2 * PROBE_S) -> None:
        """Return when the subscriber has seen the start of so many alarms."""
        wait_until(lambda: len(self.alarms()) >= count, seconds, f"{count} alarms at the subscriber")

    def state(self) -> str:
        """Return the pump's newest state at the subscriber; "" before the first."""
        messages = self.scada.on(f"{BASE}/pump/state")
        return str(json.loads(messages[-1].payload)["state"]) if messages else ""

    def wait_for_state(self, state: str, seconds: float = PROBE_S) -> None:
        """Return when the pump's newest state is this one."""
        wait_until(lambda: self.state() == state, seconds, f"state {state}")

    # --- the oracle -------------------------------------------------------------------------------------------------

    def check(self, *, audio_fault: bool = False, parked: int = 0, dropped: int = 0, seconds: float = PROBE_S) -> None:
        """Assert everything that must hold after a fault; the broker and the daemon must run.

        `parked` and `dropped`: how many promised messages the fault may have cost, exactly. `audio_fault`: sound may
        have been lost.
        """
        self.check_probe(seconds)
        promised = self.committed()
        self.check_delivery(promised, parked=parked, dropped=dropped)
        self.check_state_dir(promised)
        if not audio_fault:
            status = self.product.answer("status")
            assert (status["dropped_frames"], status["dropped_windows"]) == (0, 0), status

    def check_probe(self, seconds: float = PROBE_S) -> None:
        """Assert that a fresh alarm, of an id that nobody has heard or stored before, arrives in time."""
        known = self.alarms() | {row.alarm_id for row in self.committed()}
        wait_until(lambda: self.alarms() - known, seconds, "a fresh probe alarm at the subscriber")

    def check_delivery(
        self, promised: list[Committed], *, parked: int = 0, dropped: int = 0, seconds: float = 15.0
    ) -> None:
        """Assert that everything promised arrives with its bytes, in order, and nothing that was not promised."""
        lost = parked + dropped
        all_there = "delivery of all that is committed"
        wait_until(lambda: len(_missing(promised, self.delivered())) <= lost, seconds, all_there)
        delivered = self.delivered()
        assert len(_missing(promised, delivered)) == lost, "fewer were lost than the fault was to cost"
        counts = dict(self.product.rows("SELECT name, value FROM counters"))
        assert (counts.get("outbox_parked", 0), counts.get("outbox_dropped", 0)) == (parked, dropped), counts
        committed = {(row.topic, row.alarm_id, row.seq): row for row in self.committed()}
        first: dict[str, dict[int, None]] = {}
        from_memory: dict[tuple[str, str, int], bytes] = {}
        for message in delivered:
            payload = json.loads(message.payload)
            key = (message.topic, _id(payload), payload["seq"])
            if payload.get("persisted") == 0:  # the disk had failed: not promised, but told; always the same as well
                assert from_memory.setdefault(key, message.payload) == message.payload, f"{key} came with other bytes"
                continue
            assert key in committed, f"{key} was told before it was on disk"
            assert committed[key].payload == message.payload, f"{key} came with other bytes than were committed"
            first.setdefault(message.topic, {})[committed[key].id] = None
        for topic, ids in first.items():
            assert list(ids) == sorted(ids), f"{topic} came out of order"

    def check_state_dir(self, promised: list[Committed]) -> None:
        """Assert that the database is whole, and no alarm in it lacks a message."""
        assert self.product.intact()
        told = {(row.topic.rpartition("/")[2], row.alarm_id, row.seq) for row in self.committed()}
        for alarm, last, of_condition in self._alarm_rows(promised):
            owed = {("alert", alarm, seq) for seq in range(last + 1)}
            owed |= {("condition", alarm, seq) for seq in range(0 if of_condition is None else of_condition + 1)}
            assert owed <= told, "an alarm or episode was stored without its message"

    def _alarm_rows(self, promised: list[Committed]) -> list[tuple[Any, ...]]:
        ids = {row.alarm_id for row in promised}
        return [
            row for row in self.product.rows("SELECT alarm_id, last_seq, condition_seq FROM alarms") if row[0] in ids
        ]


def _id(payload: dict[str, Any]) -> str:
    """Return whose message it is: an alarm's, or an episode's."""
    return str(payload.get("alarm_id") or payload["episode_id"])


def _missing(promised: list[Committed], delivered: list[Received]) -> set[bytes]:
    """Return the payloads that were promised and have not arrived; each is unique by its alarm_id and seq."""
    return {row.payload for row in promised} - {message.payload for message in delivered}
