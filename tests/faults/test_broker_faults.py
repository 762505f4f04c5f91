"""A node whose pump fails again and again, and a broker or network that goes wrong in every way: the oracle after each.

One plant lives through all of them; each test leaves it healthy.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from edge_monitor.errors import ControlError
from tests.broker import wait_until
from tests.faults.certificates import Authority
from tests.faults.oracle import ALERT, NODE_PASSWORD, NODE_USER, SCADA_USER, Plant
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

PATIENCE_S = 60.0
ANCHOR = "max_queued_messages 0"  # a line of the broker's configuration; others are added behind it
DENIED = f"user {SCADA_USER}\ntopic read #\nuser {NODE_USER}\ntopic deny {ALERT}\ntopic readwrite edge-monitor/#\n"


@dataclass
class Line:
    """A plant whose node reaches the broker through a proxy, over TLS and with a password."""

    plant: Plant
    proxy: Proxy

    def broker(self) -> dict[str, Any]:
        """Return what `status` says of the broker; nothing while the daemon takes up a configuration."""
        try:
            return dict(self.plant.product.status()["mqtt"])
        except ControlError:
            return {"connected": False, "last_error": None}

    def parked(self) -> list[str]:
        """Return the reasons of all messages that the broker refused."""
        return [row["reason"] for row in self.plant.product.answer("outbox list")]

    def reload(self, mqtt: str) -> None:
        """Have the daemon take up another `[mqtt]` table."""
        assert self.plant.daemon is not None
        self.plant.product.mqtt = mqtt
        assert self.plant.product.config.exists()  # written anew
        self.plant.daemon.process.send_signal(signal.SIGHUP)


@pytest.fixture(scope="module")
def whole_line(tmp_path_factory: pytest.TempPathFactory, enrolled_state: Path, turns: Path) -> Iterator[Line]:
    """Provide a plant whose broker and network are well."""
    plant = Plant(tmp_path_factory.mktemp("line"), enrolled_state, turns, secure=True, mqtt="keepalive_s = 5")
    with Proxy(plant.broker.port) as proxy:
        plant.product.mqtt_port = proxy.port
        with plant:
            yield Line(plant, proxy)
            plant.stop()


@pytest.fixture(name="line")
def restarted_line(whole_line: Line) -> Line:
    """Provide the plant with its daemon started anew, so that its pauses between attempts are short again."""
    whole_line.plant.stop()
    whole_line.plant.start()
    wait_until(lambda: whole_line.broker()["connected"], PATIENCE_S, "the broker")
    return whole_line


@contextmanager
def another_authority(line: Line) -> Iterator[None]:
    """Have the node trust somebody else by a reload, and put it right by another."""
    right = line.plant.product.mqtt
    other = Authority(line.plant.folder, "somebody-else").ca_file
    line.reload(right.replace(str(line.plant.authority.ca_file), str(other)))
    try:
        yield
    finally:
        line.reload(right)


@contextmanager
def restarted_with(line: Line, old: str, new: str) -> Iterator[None]:
    """Have the broker come back with another configuration, later with the right one."""
    line.plant.broker.reconfigure(old, new)
    try:
        yield
    finally:
        line.plant.broker.reconfigure(new, old)


def certificate(line: Line, *, host: str = "127.0.0.1", expired: bool = False) -> AbstractContextManager[None]:
    """Have the broker come back with another certificate."""
    right, wrong = line.plant.identity, line.plant.authority.issue(host, expired=expired)
    return restarted_with(line, str(right.certificate.with_suffix("")), str(wrong.certificate.with_suffix("")))


def denial(line: Line) -> AbstractContextManager[None]:
    """Have the broker come back with an access list that denies the alerts."""
    acl = line.plant.folder / "acl"
    acl.write_text(DENIED)
    return restarted_with(line, ANCHOR, f"{ANCHOR}\nacl_file {acl}")


def small_packets(line: Line) -> AbstractContextManager[None]:
    """Have the broker come back with a packet size that an alert exceeds, and nothing else."""
    return restarted_with(line, ANCHOR, f"{ANCHOR}\nmax_packet_size 1300")


@contextmanager
def wrong_password(line: Line) -> Iterator[None]:
    """Have another password in its file when the connection is cut; later the right one, without a restart."""
    file = line.plant.folder / "broker/password"
    file.write_text("the wrong one\n")
    line.proxy.cut()
    try:
        yield
    finally:
        file.write_text(NODE_PASSWORD + "\n")


@contextmanager
def black_hole(line: Line) -> Iterator[None]:
    """Have every packet vanish, and no connection end."""
    line.proxy.hole = True
    try:
        yield
    finally:
        line.proxy.hole = False


OTHER_HOST = "certificate is not accepted: IP address mismatch, certificate is not valid for '127.0.0.1'"
OUTAGES: dict[str, tuple[Callable[[Line], AbstractContextManager[None]], str]] = {
    "another authority": (another_authority, "certificate is not accepted: "),
    "certificate for another host": (partial(certificate, host="broker.example"), OTHER_HOST),
    "expired certificate": (partial(certificate, expired=True), "certificate is not accepted: certificate has expired"),
    "wrong password": (wrong_password, "refused by the broker: Not authorized"),
    "black hole": (black_hole, "Keep alive timeout"),
}
REFUSALS: dict[str, tuple[Callable[[Line], AbstractContextManager[None]], str]] = {
    "denied by the access list": (denial, "refused by the broker: Not authorized"),
    "larger than the broker takes": (small_packets, " bytes are more than the broker accepts"),
}


def committed_anew(line: Line) -> None:
    """Return when the node has promised something more."""
    before = len(line.plant.committed())
    wait_until(lambda: len(line.plant.committed()) > before, PATIENCE_S, "another message on disk")


@pytest.mark.parametrize("fault", OUTAGES)
def test_what_is_promised_during_an_outage_arrives(line: Line, fault: str) -> None:
    """The reason is in `status`, nothing gets through meanwhile; once it is right all arrives, without a restart."""
    happening, told = OUTAGES[fault]
    parked = line.parked()
    with happening(line):
        wait_until(lambda: told in (line.broker()["last_error"] or ""), PATIENCE_S, f"{told}, not {line.broker()}")
        committed_anew(line)
        assert not line.broker()["connected"]
    line.plant.check(parked=len(parked))


@pytest.mark.parametrize("fault", REFUSALS)
def test_what_a_broker_refuses_is_parked_and_counted_and_the_rest_arrives(line: Line, fault: str) -> None:
    """Each refused alert is listed with the reason, and none is lost beside them."""
    happening, told = REFUSALS[fault]
    before = line.parked()
    with happening(line):
        wait_until(lambda: len(line.parked()) > len(before), PATIENCE_S, "a refused alert")
    wait_until(lambda: line.broker()["connected"], PATIENCE_S, "the broker")
    parked = line.parked()
    assert all(reason.endswith(told) for reason in parked[len(before) :])
    line.plant.check(parked=len(parked))


def test_slow_acknowledgements_delay_alarms_and_nothing_more(line: Line) -> None:
    """Each half a second late, for as long as it takes: alarms arrive over the same connection, none twice."""
    connections, repeated = line.proxy.connections, repetitions(line)
    line.proxy.delay_s = 0.5
    try:
        line.plant.check(parked=len(line.parked()))
    finally:
        line.proxy.delay_s = 0.0
    assert (line.proxy.connections, repetitions(line)) == (connections, repeated)


def repetitions(line: Line) -> int:
    """Return how many messages came more than once."""
    payloads = [message.payload for message in line.plant.delivered()]
    return len(payloads) - len(set(payloads))
