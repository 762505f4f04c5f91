"""The explainer thread: evidence for each alarm, made after everybody has been told."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog

from edge_monitor.alarm import history
from edge_monitor.errors import EdgeMonitorError
from edge_monitor.explain.evidence import EvidenceStore
from edge_monitor.explain.spectrogram import compact
from edge_monitor.memory.normals import NormalStore

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.records import AlarmEvent, AudioBlock
    from edge_monitor.service.node import Node
    from edge_monitor.service.pipeline import Proof
    from edge_monitor.service.storage import StorageThread

log = structlog.get_logger()
_WAITING = 16  # alarms whose evidence waits; a picture takes well under a second


@dataclass(frozen=True, slots=True)
class _Job:
    event: AlarmEvent
    proof: Proof


class Illustrator:
    """Draws pictures and keeps sound, one alarm after the other, never in the way of the audio."""

    def __init__(self, node: Node, storage: StorageThread) -> None:
        self._node = node
        self._storage = storage
        self._store = EvidenceStore(node.state_dir.evidence, node.settings.retention)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="explainer", daemon=True)
        self._thread.start()

    def illustrate(self, event: AlarmEvent, proof: Proof) -> None:
        """Queue the start of an alarm; when too many wait, it goes without a picture, and the log says so."""
        try:
            self._jobs.put_nowait(_Job(event, proof))
        except queue.Full:
            log.warning("explain.evidence_skipped", machine=event.machine, alarm_id=event.alarm_id, reason="too many")

    def close(self, timeout_s: float) -> None:
        """Finish what is queued, for at most `timeout_s` seconds."""
        try:
            self._jobs.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                files = self._illustrate(job)
            except (EdgeMonitorError, OSError) as error:
                log.warning("explain.evidence_failed", alarm_id=job.event.alarm_id, error=str(error))
                continue
            alarm_id = job.event.alarm_id

            def note(connection: sqlite3.Connection, alarm_id: str = alarm_id, files: dict[str, str] = files) -> None:
                history.set_evidence(connection, alarm_id, files)

            self._storage.submit(note)
            log.info("explain.evidence_written", machine=job.event.machine, alarm_id=alarm_id, **files)

    def _illustrate(self, job: _Job) -> dict[str, str]:
        machine = self._node.machine(job.event.machine)
        normal = None
        if job.event.neighbours:
            with self._node.database() as connection:
                normal = NormalStore(connection, machine.name).spectrogram(job.event.neighbours[0].normal_id)
        picture = compact(job.proof.samples, job.proof.rate_hz)
        files = {"picture": self._store.write_picture(job.event, machine.title, picture, normal)}
        if job.proof.sound:
            files["audio"] = self._store.write_audio(job.event, _joined(job.proof.sound), job.proof.sound[0].rate_hz)
        return files


def _joined(blocks: tuple[AudioBlock, ...]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([block.samples for block in blocks])
