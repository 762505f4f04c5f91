"""Reloads, enrolments, generations, alarms and a failing disk in any order, on a daemon in this process."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import threading
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from edge_monitor.alarm import history
from edge_monitor.errors import ReloadError
from edge_monitor.node import generations
from edge_monitor.node.operations import ENROLL_LIVE
from edge_monitor.pipeline.machine_pipeline import Learnt
from edge_monitor.records import EventKind
from edge_monitor.runtime import alarm_recorder, daemon
from edge_monitor.runtime.runner import Runner
from tests.broker import wait_until
from tests.enrolled import IDLE
from tests.product import Product
from tests.runtime.parts import alarm

if TYPE_CHECKING:
    from edge_monitor.api.jobs import Job
    from edge_monitor.runtime.composition import Parts

HEARD = '{ kind = "simulator", machine = "pump", take = 1, pace = 120 }'
FAN = f'[[machine]]\nname = "fan"\nsource = {IDLE}'  # which nothing is known of: its alarms begin and end by the test
NO_BROKER = 1  # a port that nobody listens at: what is promised to the plant stays in the outbox
PATIENCE_S = 20.0
ORDERS = int(os.environ.get("EDGE_MONITOR_ORDERS", "3"))  # 100 in the long form


class Orders(RuleBasedStateMachine):
    """What has been asked for so far, and what must be so; the daemon runs in a thread, as its own main thread."""

    def __init__(self, known: Path) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(signal, "signal", lambda *_: None)
        self.patched.setattr(daemon, "TICK_S", 0.02)
        self.patched.setattr(daemon, "give_memory_back", lambda: None)
        self.patched.setattr(alarm_recorder, "RETRY_S", 0.0)
        self.patched.setattr(history, "record", partial(self.record, history.record))
        self.folder = TemporaryDirectory()
        self.product = Product(Path(self.folder.name), HEARD, mqtt_port=NO_BROKER, extra=FAN)
        shutil.copytree(known, self.product.state)
        self.failing = False  # the disk
        self.threads = 1  # of the settings in force
        self.alarms: dict[str, bool] = {}  # by id: it has ended
        self.unsaid: set[str] = set()  # alarms that the disk knows nothing of
        self.enrolling: Job | None = None
        self.runner = Runner(self.write_threads(self.threads))
        self.code: list[int] = []
        self.thread = threading.Thread(target=lambda: self.code.append(self.runner.run()), daemon=True)
        self.thread.start()
        wait_until(lambda: self.runner._daemon.parts is not None, PATIENCE_S, "the daemon")
        self.normals = self.count()

    def write_threads(self, threads: int) -> Path:
        """Write the configuration; return where it is."""
        self.product.model = f"hop_s = 10.0\nthreads = {threads}"
        return self.product.config

    def record(self, write: Any, connection: sqlite3.Connection, event: Any) -> None:  # noqa: ANN401 - as history.record
        """Write an alarm, unless the disk fails."""
        if self.failing:
            raise sqlite3.OperationalError("database or disk is full")
        write(connection, event)

    @property
    def parts(self) -> Parts:
        """Return the parts of the daemon that runs."""
        assert self.runner._daemon.parts is not None
        return self.runner._daemon.parts

    def count(self) -> int:
        """Return how many normals the pump's next generation would have."""
        query = (
            "SELECT count(*) FROM normals WHERE removed_ms IS NULL"
            " AND recording_id NOT IN (SELECT recording_id FROM out_of_use)"
        )
        return int(self.product.rows(query)[0][0])

    # --- what is done -----------------------------------------------------------------------------------------------

    @rule(threads=st.sampled_from([1, 2]), broken=st.sampled_from([False, False, True]), hang_up=st.booleans())
    def reload(self, threads: int, broken: bool, hang_up: bool) -> None:
        """Change the file, or not, or break it, and ask for it to be taken up; what is refused changes nothing."""
        self.write_threads(0 if broken else threads)
        before = self.runner._daemon
        if hang_up:
            self.runner._on_hangup(signal.SIGHUP, None)
        new, reason = threads != self.threads, ""
        if broken:
            reason = "threads"
        elif new and self.enrolling is not None:
            reason = "enroll.live under way"
        elif new and self.unsaid:
            reason = "in memory"
        if reason:
            with pytest.raises(ReloadError, match=reason):
                self.runner.reload()
            assert self.runner._daemon is before
            return
        assert self.runner.reload() == (("model.threads",) if new else ())
        assert (self.runner._daemon is before) is not new
        self.threads = threads

    @precondition(lambda self: self.enrolling is None)
    @rule()
    def begin_to_enrol(self) -> None:
        """Learn live sound, longer than this test lasts."""
        self.enrolling = self.enrol(minutes=600.0)
        wait_until(lambda: self.parts.pipelines["pump"].learning, PATIENCE_S, "learning")

    @precondition(lambda self: self.enrolling is not None)
    @rule()
    def withdraw(self) -> None:
        """Cancel the enrolment: it counts for nothing."""
        job, self.enrolling = self.enrolling, None
        assert job is not None
        job.cancel()
        wait_until(lambda: job.ended_s is not None, PATIENCE_S, "the cancelled enrolment")

    @precondition(lambda self: self.enrolling is None)
    @rule()
    def enrol_to_the_end(self) -> None:
        """Learn a minute of live sound."""
        job = self.enrol(minutes=1.0)
        wait_until(lambda: job.ended_s is not None, PATIENCE_S, "the enrolment")
        assert job.state(0).error is None
        now = self.count()
        assert now >= self.normals
        self.normals = now

    def enrol(self, minutes: float) -> Job:
        """Begin to learn live sound."""
        node = self.runner._daemon.node
        wanted = ENROLL_LIVE.request(machine="pump", minutes=minutes, bundle_hash=node.bundle.bundle_hash)
        return self.runner.jobs.find(self.runner.jobs.start(node, ENROLL_LIVE, wanted, detached_s=600.0))

    @rule()
    def build(self) -> None:
        """Build the next generation."""
        wanted = generations.BuildGeneration(machine="pump", reason="a test")
        assert generations.build_next(self.runner._daemon.node, wanted).normals == self.normals

    @precondition(lambda self: all(self.alarms.values()))
    @rule()
    def raise_alarm(self) -> None:
        """Raise an alarm of the fan."""
        number = len(self.alarms) + 1
        self.parts.recorder.commit(alarm(number, "fan"), None)
        self.alarms[f"alarm-{number}"] = False
        if self.failing:
            self.unsaid.add(f"alarm-{number}")
            wait_until(lambda: self.parts.recorder.in_memory == len(self.unsaid), PATIENCE_S, "the alarm in memory")

    @precondition(lambda self: not all(self.alarms.values()) and (self.unsaid or not self.failing))
    @rule()
    def end_alarm(self) -> None:
        """End it."""
        number = len(self.alarms)
        self.parts.recorder.commit(alarm(number, "fan", EventKind.END, seq=1), None)
        self.alarms[f"alarm-{number}"] = True

    @rule()
    def turn_the_disk(self) -> None:
        """Have the disk fail, or take again what waits."""
        self.failing = not self.failing
        if not self.failing:
            self.unsaid.clear()

    # --- what holds -------------------------------------------------------------------------------------------------

    @invariant()
    def the_lock_is_held(self) -> None:
        """No command could come between, not even during a reload."""
        descriptor = os.open(self.product.state / "lock", os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)

    @invariant()
    def the_settings_in_force_are_the_accepted_ones(self) -> None:
        """All of them, in each part."""
        assert self.parts.node.settings.model.threads == self.threads

    @invariant()
    def what_scores_is_what_the_database_names(self) -> None:
        """Wait until the pipeline has gone over to it."""
        [(active,)] = self.product.rows("SELECT number FROM generations WHERE active = 1")

        def scoring() -> bool:
            learnt = self.parts.pipelines["pump"].learnt
            return isinstance(learnt, Learnt) and learnt.generation == active

        wait_until(scoring, PATIENCE_S, "the active generation")

    @invariant()
    def an_enrolment_under_way_counts_for_nothing(self) -> None:
        """Nor does one that was withdrawn."""
        assert self.count() == self.normals

    @invariant()
    def no_alarm_is_lost(self) -> None:
        """Each is on disk with its messages, once, or waits for a disk that fails."""
        stored = {(each, ended) for each, ended in self.alarms.items() if each not in self.unsaid}
        query = "SELECT alarm_id, ended_ms IS NOT NULL FROM alarms"
        wait_until(lambda: set(self.product.rows(query)) == stored, PATIENCE_S, "the alarms")
        said = {(each, seq) for each, ended in stored for seq in range(1 + ended)}
        query = "SELECT alarm_id, seq FROM outbox WHERE topic LIKE '%/fan/alert'"
        wait_until(lambda: sorted(self.product.rows(query)) == sorted(said), PATIENCE_S, "their messages")
        wait_until(lambda: self.parts.recorder.in_memory == len(self.unsaid), PATIENCE_S, "those in memory")
        assert self.parts.recorder.not_stored == 0

    def teardown(self) -> None:
        """Stop the daemon, on a disk that works."""
        self.failing = False
        self.runner._on_stop(signal.SIGTERM, None)
        self.thread.join(PATIENCE_S)
        self.patched.undo()
        self.folder.cleanup()
        assert self.code == [0]


def test_in_any_order_a_reload_is_whole_or_refused_and_nothing_is_lost(enrolled_state: Path) -> None:
    """Each order has up to fifteen steps, and the daemon is another one after each reload that is accepted."""
    quick = settings(max_examples=ORDERS, stateful_step_count=15, deadline=None, phases=[Phase.generate])
    run_state_machine_as_test(lambda: Orders(enrolled_state), settings=quick)  # type: ignore[arg-type]  # takes both
