"""The explainer thread: evidence for each alarm, made after everybody has been told."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog

from edge_monitor.alarm import history
from edge_monitor.explain.evidence import EvidenceStore
from edge_monitor.explain.spectrogram import compact
from edge_monitor.memory.normals import NormalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.records import AlarmEvent, AudioBlock
    from edge_monitor.service.node import Node
    from edge_monitor.service.pipeline import Proof
    from edge_monitor.service.storage import StorageThread

log = structlog.get_logger()
_WAITING = 16  # alarms whose evidence waits; a picture takes well under a second


class Illustrator:
    """Draws pictures and keeps sound, one alarm after the other, never in the way of the audio."""

    def __init__(self, node: Node, storage: StorageThread) -> None:
        self._node = node
        self._storage = storage
        self._store = EvidenceStore(node.state_dir.evidence, node.settings.retention)
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="explainer", daemon=True)
        self.is_alive = self._thread.is_alive
        self._thread.start()

    def illustrate(self, event: AlarmEvent, proof: Proof) -> None:
        """Queue the start of an alarm; when too many wait, it goes without a picture, and the log says so."""
        try:
            self._jobs.put_nowait(partial(self._illustrate, event, proof))
        except queue.Full:
            log.warning("explain.evidence_skipped", machine=event.machine, alarm_id=event.alarm_id, reason="too many")

    def close(self, timeout_s: float) -> None:
        """Finish what is queued, for at most `timeout_s` seconds."""
        try:
            self._jobs.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def tidy(self) -> None:
        """Have the retention caps kept, in the explainer thread."""
        with suppress(queue.Full):
            self._jobs.put_nowait(self._store.enforce)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # noqa: BLE001 - a picture that fails must not cost the next ones
                log.warning("explain.evidence_failed", error=str(error))

    def _illustrate(self, event: AlarmEvent, proof: Proof) -> None:
        files: dict[str, str] = {}
        try:
            files["picture"] = self._draw(event, proof)
        finally:
            if proof.sound:
                files["audio"] = self._store.write_audio(event, _joined(proof.sound), proof.sound[0].rate_hz)
            self._storage.submit(lambda connection: history.set_evidence(connection, event.alarm_id, files))
            log.info("explain.evidence_written", machine=event.machine, alarm_id=event.alarm_id, **files)

    def _draw(self, event: AlarmEvent, proof: Proof) -> str:
        machine = self._node.machine(event.machine)
        normal = None
        if event.neighbours:
            with self._node.database() as connection:
                normal = NormalStore(connection, machine.name).spectrogram(event.neighbours[0].normal_id)
        return self._store.write_picture(event, machine.title, compact(proof.samples, proof.rate_hz), normal)


def _joined(blocks: tuple[AudioBlock, ...]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([block.samples for block in blocks])
