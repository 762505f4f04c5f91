"""A full box: many machines heard by one daemon in real time, and a backlog of alerts drained to the broker.

    python -m bench.load [--machines 32] [--minutes 10] [--alerts 10000]

Needs mosquitto, PulseAudio and ALSA's pulse plugin. The sound of a simulated pump, healthy and failing in turns, is
played into a real PortAudio stream that all machines share: it cannot be held back, so what is too slow is dropped and
counted, and all windows are complete at the same moment, the worst case. Latency runs from the end of the confirming
window to the message at a subscriber; the microphone's own buffering is in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from bench.encoder import noise
from bench.node import ALERT, Family, configuration, enrol, running, sounds, start_latencies_ms, status
from bench.pairs import Ratio
from bench.part import need
from bench.rows import NotMeasuredError, Row
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.store import database
from tests.broker import Broker, Subscriber, wait_until
from tests.sound_server import missing, sound_server

SETTLING_S = 30.0  # before the index and the first window of every machine are there
SECOND_S = 1.0  # between two looks at the daemon
BACKLOG = "edge-monitor/v1/bench/edge/m0/alert"
BARE = "bench/bare"
SUITE_MACHINES, SUITE_HEALTHY_S = 16, 80.0  # in the suite: as many alerts as its time allows
SHARE = 0.8  # of a core that the daemon may take; the rest is the system's
HOP_S = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What so many machines did to one daemon."""

    machines: int
    seconds: float
    alert_ms: tuple[float, ...]  # end of the confirming window to a subscriber
    bare_ms: tuple[float, ...]  # a bare QoS 1 publish to the same subscriber, one each second
    cpu_s: tuple[float, ...]  # CPU time of daemon and capture child, each second
    embed_s: tuple[float, ...]  # CPU time of embedding one window in this process, each second
    rss_mb: tuple[float, ...]  # with the capture child, each second
    windows: int  # scored
    dropped_frames: int
    dropped_windows: int


def load(folder: Path, machines: int, seconds: float, *, healthy_s: float = 300.0) -> Load:
    """Run a daemon with so many machines for `seconds` after it has settled."""
    healthy, played = sounds(folder, healthy_s=healthy_s)
    encoder = Encoder(find_bundle("spectral", base=Path.cwd()), threads=1)
    window = noise(encoder)
    sent_ns, cpu_s, embed_s, rss_mb = [], [], [], []
    with Broker(folder) as broker, sound_server() as server, Subscriber(broker.port) as plant:
        config = configuration(folder, port=broker.port, machines=machines)
        enrol(config, healthy, machines)
        bare = Client(CallbackAPIVersion.VERSION2)
        bare.connect("127.0.0.1", broker.port)
        bare.loop_start()
        with running(config) as daemon:
            time.sleep(SETTLING_S)
            family = Family.of(daemon)
            before = status(config)
            began_s, then_s = time.monotonic(), family.cpu_s()
            player = server.play(played)
            while time.monotonic() - began_s < seconds:
                time.sleep(SECOND_S)
                now_s = family.cpu_s()
                cpu_s.append(now_s - then_s)
                then_s = now_s
                rss_mb.append(family.rss_mb())
                begun_s = time.process_time()
                encoder.embed(window)
                embed_s.append(time.process_time() - begun_s)
                sent_ns.append(time.monotonic_ns())
                bare.publish(BARE, ALERT, qos=1)
                if player.poll() is not None:
                    player = server.play(played)
            took_s = time.monotonic() - began_s
            after = status(config)
            player.terminate()
            player.wait(10.0)
        bare.disconnect()
        bare.loop_stop()
    arrived = [message.at_ns for message in plant.on(BARE)]
    with closing(database.connect(folder / "state" / database.FILE_NAME, read_only=True)) as connection:
        windows = connection.execute("SELECT sum(windows) FROM score_minutes").fetchone()[0]
    return Load(
        machines,
        took_s,
        tuple(start_latencies_ms([message for message in plant.messages if message.topic.endswith("/alert")])),
        tuple((there - sent) / 1e6 for sent, there in zip(sent_ns, arrived, strict=False)),
        tuple(cpu_s),
        tuple(embed_s),
        tuple(rss_mb),
        windows,
        *(after[key] - before[key] for key in ("dropped_frames", "dropped_windows")),
    )


def measure(seconds: float) -> list[Row]:
    """Return the rows of an alert's latency and of streams per core."""
    need("mosquitto")
    if lacking := missing():
        raise NotMeasuredError(f"needs {lacking}")
    with tempfile.TemporaryDirectory() as name:
        found = load(Path(name), SUITE_MACHINES, seconds, healthy_s=SUITE_HEALTHY_S)
    return [*latency_rows(found), streams_row(found)]


def latency_rows(found: Load) -> list[Row]:
    """Return p50 and p99 beside those of a bare publish in the same minutes."""
    what = f"alert, window end to subscriber, {found.machines} machines at once"
    if not found.alert_ms or not found.bare_ms:
        return [Row(what, missing="no alert came in the time there was")]
    rows = []
    for percent in (50, 99):
        alert, bare = (float(np.percentile(values, percent)) for values in (found.alert_ms, found.bare_ms))
        note = f"{len(found.alert_ms)} alerts"
        rows.append(Row(f"{what}, p{percent}", alert, "ms", "a bare publish", bare, Ratio.of([bare], [alert]), note))
    return rows


def streams_row(found: Load) -> Row:
    """Return how many streams fill a core, by the whole daemon's CPU time and by embedding alone."""
    stream_s = np.array(found.cpu_s) / found.machines  # CPU time of one stream in a second
    embed_s = np.array(found.embed_s) * SECOND_S / HOP_S
    whole, alone = (float(SHARE * SECOND_S / np.median(cost)) for cost in (stream_s, embed_s))
    dropped = f"{found.dropped_frames} frames and {found.dropped_windows} windows dropped"
    note = f"{SHARE:.0%} busy, hop {HOP_S:g} s; by CPU time with {found.machines} at work, {dropped}"
    return Row("streams per core", whole, "streams", "embedding alone", alone, Ratio.of(embed_s, stream_s), note)


def drain(folder: Path, alerts: int) -> None:
    """Print how fast the whole daemon empties an outbox of so many alerts."""
    with Broker(folder, "max_queued_messages 0") as broker, Subscriber(broker.port, BACKLOG) as scada:
        config = configuration(folder, port=broker.port, machines=1, source='{ kind = "simulator" }')
        (folder / "state").mkdir()
        with closing(database.connect(folder / "state" / database.FILE_NAME)) as connection:
            outbox = Outbox(connection)
            with database.transaction(connection):
                for number in range(alerts):
                    outbox.enqueue(BACKLOG, ALERT, alarm_id=str(number), seq=0, created_ms=0)
        with running(config) as daemon:
            wait_until(lambda: len(scada.messages) >= alerts, 600.0, "the backlog at the subscriber")
            seconds = (scada.messages[alerts - 1].at_ns - scada.messages[0].at_ns) / 1e9
            rss_mb = daemon.memory_info().rss / 1e6
    print(f"| {alerts} queued alerts of {len(ALERT)} B drained by the daemon | |\n|---|--:|")
    print(f"| rows/s | {(alerts - 1) / seconds:.0f} |\n| RSS at the end | {rss_mb:.0f} MB |\n")


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--alerts", type=int, default=10_000)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        for folder in ("drain", "load"):
            (Path(name) / folder).mkdir()
        if asked.alerts:
            drain(Path(name) / "drain", asked.alerts)
        found = load(Path(name) / "load", asked.machines, 60.0 * asked.minutes)
    p50, p99 = np.percentile(found.alert_ms, (50, 99))
    count, seconds = len(found.alert_ms), found.seconds
    print(f"| {found.machines} machines, hop 1 s, {seconds / 60:.1f} min on {os.cpu_count()} cores | |\n|---|--:|")
    print(f"| dropped frames / windows | {found.dropped_frames} / {found.dropped_windows} |")
    print(f"| windows scored | {found.windows} |")
    print(f"| alert latency p50 / p99 / max, {count} alerts | {p50:.0f} / {p99:.0f} / {max(found.alert_ms):.0f} ms |")
    print(f"| CPU, share of one core | {100 * sum(found.cpu_s) / seconds:.0f} % |")
    print(
        f"| RSS with the capture child, at the start / at most | {found.rss_mb[0]:.0f} / {max(found.rss_mb):.0f} MB |"
    )


if __name__ == "__main__":
    main()
