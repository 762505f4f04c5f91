"""A hundred alarms at once: the audio does not notice, each alarm is told of, memory stays bounded."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import pytest

from edge_monitor.alarm import history
from edge_monitor.config.file import load_settings
from edge_monitor.errors import ExplainError
from edge_monitor.explain import jobs
from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import compare
from edge_monitor.pipeline.alarm_audio import AlarmAudio
from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.pipeline.normal_acoustics import NormalAcoustics, load_normal_acoustics
from edge_monitor.records import AlarmEvent, Neighbour
from edge_monitor.runtime import measuring_worker
from edge_monitor.runtime.audio_queue import AudioQueue
from tests.broker import wait_until
from tests.explained import inside, tapped
from tests.runtime import parts
from tests.sounds import pump

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from edge_monitor.records import Samples
    from edge_monitor.runtime.composition import Parts
    from tests.product import Product

    Make = Callable[..., Product]

ALARMS = 100
LIVE = '{ kind = "simulator", machine = "pump", take = 1 }'
TELLING_S = 120.0


def alarm(at_ms: int) -> AlarmEvent:
    """Return the start of an alarm that is over, so that there may be many."""
    neighbours = tuple(Neighbour(number, 1.0, "healthy.wav", 0.0) for number in (1, 2, 3, 4))
    event = parts.alarm()
    return replace(event, alarm_id=str(uuid.uuid4()), at_ms=at_ms, since_ms=at_ms, neighbours=neighbours)


def store(connection: sqlite3.Connection, event: AlarmEvent, methods: tuple[str, ...] = ("measured",)) -> None:
    """Write an alarm with its jobs as the recorder does, and end it."""
    history.record(connection, event)
    jobs.create(connection, event.alarm_id, methods, event.at_ms)
    connection.execute("UPDATE alarms SET ended_ms = ? WHERE alarm_id = ?", (event.at_ms, event.alarm_id))


def lags(daemon: Parts, until: threading.Event) -> list[float]:
    """Return of each window how much later than the earliest it was judged, relative to its sound, seconds."""
    found = [time.monotonic() - item.end_s for item in tapped(daemon, until) if isinstance(item, WindowResult)]
    return [lag - min(found) for lag in found]


def queue(daemon: Parts, sound: Samples) -> AlarmEvent:
    """Commit an alarm and have it measured."""
    event = alarm(time.time_ns() // 1_000_000)
    daemon.store.commit(lambda connection: store(connection, event))
    daemon.measuring.explain(event, AlarmAudio(sound, 16_000, (), ()))
    return event


def test_a_hundred_alarms_delay_no_window_and_each_is_measured(enrolled: Make) -> None:
    """While 100 alarms are explained and drawn every window of live sound is judged in its hop."""
    with inside(enrolled(LIVE).config) as daemon:
        wait_until(lambda: daemon.states.snapshot()[0]["windows"] >= 2, 30.0, "two windows")
        told = threading.Event()
        seen: list[list[float]] = []
        listener = threading.Thread(target=lambda: seen.append(lags(daemon, told)))
        listener.start()
        sound = pump(10, take=2, fault="rattle")
        for _ in range(ALARMS):
            queue(daemon, sound.copy())
        wait_until(lambda: daemon.measuring.idle, TELLING_S, "all told")
        told.set()
        listener.join()
        with daemon.store.reading() as connection:
            rows = connection.execute("SELECT text IS NOT NULL, reason FROM explanations").fetchall()
            [(pictures,)] = connection.execute("SELECT count(evidence) FROM alarms").fetchall()
    assert [tuple(row) for row in rows] == [(1, "")] * ALARMS
    assert pictures == ALARMS
    assert len(seen[0]) >= 3
    assert max(seen[0]) < 1.0  # a hop
    assert daemon.pipeline.windows_dropped == 0
    assert daemon.audio.dropped_frames == 0


def test_sound_that_waits_is_bounded_and_the_oldest_is_let_go(enrolled: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three sounds, of one being explained and five that wait the two oldest of these lose theirs."""
    sound = pump(10, take=2, fault="rattle")
    monkeypatch.setattr(measuring_worker, "SOUND_BYTES", 3 * sound.nbytes)
    monkeypatch.setattr(measuring_worker, "PATIENCE_S", 60.0)
    caught_up = threading.Event()
    monkeypatch.setattr(AudioQueue, "caught_up", lambda _: caught_up.is_set())
    with inside(enrolled(LIVE, extra='evidence = "off"').config) as daemon:
        events = [queue(daemon, sound)]
        wait_until(lambda: not daemon.measuring._waiting, 10.0, "the first")
        events += [queue(daemon, sound) for _ in range(5)]
        caught_up.set()
        wait_until(lambda: daemon.measuring.idle, 30.0, "all told")
        with daemon.store.reading() as connection:
            reasons = dict(connection.execute("SELECT alarm_id, reason FROM explanations").fetchall())
    let_go = "the sound was let go before it was measured: too many alarms at once, or the disk failed"
    assert [reasons[event.alarm_id] for event in events] == ["", let_go, let_go, "", "", ""]


@pytest.mark.parametrize("caught_up", [True, False])
def test_explaining_gives_way_to_windows_that_wait_but_not_for_ever(
    enrolled: Make, monkeypatch: pytest.MonkeyPatch, caught_up: bool
) -> None:
    """An alarm is explained at once, or after some patience where the windows never catch up."""
    monkeypatch.setattr(AudioQueue, "caught_up", lambda _: caught_up)
    monkeypatch.setattr(measuring_worker, "PATIENCE_S", 6.0)
    with inside(enrolled(LIVE, extra='evidence = "off"').config) as daemon:
        sound = pump(10, take=2, fault="rattle")
        began_s = time.monotonic()
        queue(daemon, sound)
        wait_until(lambda: daemon.measuring.idle, 30.0, "the explanation")
        assert (time.monotonic() - began_s > 6.0) is not caught_up


def test_normals_are_read_before_the_first_alarm(enrolled: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and when another generation becomes active, in the worker's thread; the alarm reads none."""
    read: list[tuple[str, int, str]] = []

    def noted(connection: sqlite3.Connection, machine: str, generation: int) -> NormalAcoustics:
        read.append((machine, generation, threading.current_thread().name))
        return load_normal_acoustics(connection, machine, generation)

    monkeypatch.setattr(measuring_worker, "load_normal_acoustics", noted)
    with inside(enrolled(LIVE, extra='evidence = "off"').config) as daemon:
        wait_until(lambda: read, 10.0, "the first generation")
        queue(daemon, pump(10, take=2, fault="rattle"))
        wait_until(lambda: daemon.measuring.idle, 30.0, "the explanation")
        assert read == [("pump", 1, "measuring")]
        daemon.measuring.prepare("pump", 2)
        wait_until(lambda: len(read) == 2, 10.0, "the second generation")
    assert read[1] == ("pump", 2, "measuring")


def test_a_generation_that_is_gone_is_said_to_be() -> None:
    """A restored memory numbers its generations anew; an older alarm's is not there to be compared with."""
    with pytest.raises(ExplainError, match="generation 7 is not known any more"):
        NormalAcoustics("pump", 7, 0, 0, None, {}).compared_with((1,))


def test_a_measured_explanation_takes_at_most_150_ms(enrolled: Make) -> None:
    """Measuring 10 s of sound and comparing it with the machine's normals takes at most 150 ms of one core."""
    from edge_monitor.node.node import Node

    node = Node(load_settings(enrolled().config))
    with node.reading() as connection:
        healthy = load_normal_acoustics(connection, "pump", 1)
    sound = pump(10, take=2, fault="rattle")
    took_s = []
    for _ in range(9):
        began_s = time.thread_time()
        with node.reading() as connection:
            beside = healthy.beside(connection, (1, 2, 3, 4))
        difference = compare(measure(sound, 16_000), *beside.compared_with((1, 2, 3, 4)))
        took_s.append(time.thread_time() - began_s)
    assert difference.findings
    assert median(took_s) <= 0.15
