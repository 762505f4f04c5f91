"""What needs the machine's sound as it comes: enrolling live, and listening."""

from __future__ import annotations

import uuid
from collections import deque
from typing import TYPE_CHECKING, Annotated

import numpy as np
import structlog
from pydantic import Field

from edge_monitor import clock
from edge_monitor.capture.meter import Meter, meter
from edge_monitor.counting import counted
from edge_monitor.errors import AudioError, ControlError
from edge_monitor.memory import changes
from edge_monitor.memory.leaveout import BLOCK_S
from edge_monitor.memory.normal import NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.node.bandwidth import another_rate, learnt_highest_hz, not_added, recording_highest_hz
from edge_monitor.node.clips import normal_of
from edge_monitor.node.enrolled_sound import EnrolledSound, SoundSample
from edge_monitor.node.kept_audio import KeptAudio, as_flac
from edge_monitor.node.learnt import require_bundle, require_same
from edge_monitor.node.normals import PART, vectors_sha256
from edge_monitor.node.operation import Message, Nothing, OfMachine
from edge_monitor.node.verdict import Verdict
from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import AudioBlock, AudioLoss, MachineState

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled
    from edge_monitor.records import Embedding, Samples, Window

log = structlog.get_logger()
_TOLERANCE_S = 0.01  # of a live clock's corrections
READING_S = 0.5  # of sound in each reading of the meter


class EnrollLive(OfMachine):
    """How long to listen to what sound."""

    minutes: Annotated[float, Field(gt=0, le=60 * 24 * 31)]
    bundle_hash: str
    keep_audio: bool = False
    sample: bool = False  # whether to keep some windows' sound in memory, to measure what is audible


class EnrolmentProgress(Message):
    """How far an enrolment of live sound has come."""

    seconds: float
    windows: int
    text: str
    session: str
    sample: EnrolledSound | None = None  # at the end, if it was asked for: to be fetched or used within a minute


class Reading(Message):
    """What half a second of sound measures, or why there is none, and the verdict on the machine just now."""

    meter: Meter | None = None
    loss: str | None = None
    verdict: Verdict


class _Session:
    """Live sound on its way into the memory: each 30 s block is committed, and all come into use at the end."""

    def __init__(self, node: Node, machine: str, *, keep_audio: bool, sample: bool) -> None:
        self._node = node
        self._sample = SoundSample() if sample else None
        self._machine = machine
        self.name = f"{changes.SESSION}{clock.rfc3339(clock.now().wall_ms)}"
        self._change = f"{self.name} {uuid.uuid4()}"
        self._kept = KeptAudio.of(node, machine) if keep_audio else None
        self._sound: deque[AudioBlock] = deque()  # since the open block's start, at the source's own rate
        self._free_from_s = 0.0  # windows do not overlap, and one window of guard lies between blocks
        self._block: list[tuple[Window, Embedding]] = []
        self.windows = 0
        self._parts = 0
        self._highest_hz: float | None = None  # up to where its own blocks have sound; None: it is not known
        self._left_out, self._left_out_text = 0, ""

    def take(self, heard: WindowResult) -> None:
        """Take in a window unless it overlaps the last one taken."""
        window, embedding = heard.window, heard.embedding
        if self._kept and window is not None and embedding is None:
            self.commit()  # what is not the machine's normal sound is not kept among it
            self._free_from_s = max(self._free_from_s, window.end_s + self._node.window_s)
        if window is None or embedding is None or window.start_s < self._free_from_s - 1e-6:
            return
        if self._kept and (not self._sound or window.start_s < self._sound[0].start_s - _TOLERANCE_S):
            return  # it began before the tap was opened: its sound could not be kept whole
        if self._block and window.end_s - self._block[0][0].start_s > BLOCK_S + 1e-6:
            self.commit()
            self._free_from_s += self._node.window_s
            if window.start_s < self._free_from_s:
                return
        self._free_from_s = window.end_s
        self._block.append((window, embedding))

    def listen(self, block: AudioBlock) -> None:
        """Take note of sound as it comes, if it is to be kept; a gap ends the open block."""
        if self._kept is None:
            return
        if block.gap or (self._sound and _apart(self._sound[-1], block)):
            self.commit()
            self._sound.clear()
        self._sound.append(block)
        needed_from_s = self._block[0][0].start_s if self._block else block.end_s - 2 * self._node.window_s - BLOCK_S
        while self._sound[0].end_s <= needed_from_s:
            self._sound.popleft()

    def commit(self) -> None:
        """Commit the block that is open; one of another sample rate is left out.

        Raises NormalsError when that is the first.
        """
        if not self._block:
            return
        start_s = self._block[0][0].start_s
        normals = [normal_of(window, embedding.vector, window.start_s - start_s) for window, embedding in self._block]
        sha256 = vectors_sha256([normal.vector.tobytes() for normal in normals])
        new = NewRecording(f"{self.name} {PART} {self._parts + 1}", sha256, len(normals) * self._node.window_s, normals)
        if self._of_another_rate(new):
            self._block = []
            return
        if self._kept:
            self._kept.write(sha256, [as_flac(*self._heard())])
        bundle_hash = self._block[0][1].bundle_hash
        added = changes.add(self._node.store, self._machine, new, bundle_hash=bundle_hash, part_of=self._change)
        self._parts += 1
        self.windows += added.count
        if self._sample is not None:
            for window, _ in self._block:
                self._sample.add(window.samples, sha256, window.start_s - start_s)
        self._block = []

    def _of_another_rate(self, new: NewRecording) -> bool:
        highest_hz = recording_highest_hz(new)
        with self._node.reading() as connection:
            learnt_hz = learnt_highest_hz(connection, self._machine) or self._highest_hz
        told = another_rate(highest_hz, learnt_hz)
        if told is None:
            self._highest_hz = self._highest_hz or highest_hz
            return False
        if not self._parts:  # nothing is lost, and whoever asked is still there
            raise not_added(self._machine, new.name, told)
        self._left_out += 1
        self._left_out_text = f"; {counted(self._left_out, 'block')} left out: {told}"
        log.warning("memory.block_left_out", machine=self._machine, session=self.name, reason=told)
        return True

    def _heard(self) -> tuple[Samples, int]:
        """Return the open block's sound at the source's own rate, (frames,), and that rate, Hz."""
        start_s, end_s = self._block[0][0].start_s, self._block[-1][0].end_s
        rate_hz = self._sound[-1].rate_hz
        sound = np.concatenate([block.samples for block in self._sound])
        first = round((start_s - self._sound[0].start_s) * rate_hz)
        return sound[max(0, first) : first + round((end_s - start_s) * rate_hz)], rate_hz

    def progress(self, seconds: float, text: str) -> EnrolmentProgress:
        """Return how far it has come."""
        text += self._left_out_text
        return EnrolmentProgress(seconds=round(seconds, 1), windows=self.windows, text=text, session=self.name)

    def finish(self, bundle_hash: str) -> None:
        """Commit the open block, and take all that was enrolled into use."""
        self.commit()
        changes.finish(self._node.store, self._machine, self._change, bundle_hash)

    def sample(self) -> EnrolledSound | None:
        """Return the sample of its sound; None: none was kept."""
        return self._sample.sent(self._node.files.add) if self._sample else None

    def withdraw(self) -> None:
        """Leave what was enrolled out of use: who interrupts an enrolment has heard something that is not normal."""
        withdrawn = changes.withdraw(self._node.store, self._change)
        log.warning("memory.enrolment_withdrawn", machine=self._machine, session=self.name, normals=withdrawn)


def _apart(before: AudioBlock, block: AudioBlock) -> bool:
    """Return whether sound is missing between two blocks (a slow listener's tap drops some)."""
    return block.rate_hz != before.rate_hz or abs(block.start_s - before.end_s) > _TOLERANCE_S


def enroll_live(
    node: Node, request: EnrollLive, cancelled: Cancelled
) -> Generator[EnrolmentProgress, None, EnrolmentProgress]:
    """Enrol live sound; yields progress after each window. The generation is built by `generations.build`.

    When nobody waits for the end, what was enrolled stays out of use; `normals restore` brings it back.
    Only sound from after the request is taken.
    Raises BundleMismatchError at once when the machine was enrolled with another bundle, NormalsError when the first
    block has another sample rate; a later one is left out and told.
    """
    machine, wanted_s = request.machine, request.minutes * 60.0
    node.machine(machine)
    require_same(node, request.bundle_hash)
    with node.reading() as connection:
        require_bundle(node, machine, Normals(connection, machine).bundle_hash())
    session = _Session(node, machine, keep_audio=request.keep_audio, sample=request.sample)
    asked_s: float | None = None  # stream time of the first sound since the request,
    began_s: float | None = None  # and of the first window in it
    node.running.set_learning(machine, learning=True)
    try:
        for item in node.running.hear(machine):
            _go_on_unless(cancelled, machine)
            if isinstance(item, AudioBlock):
                session.listen(item)
                asked_s = item.start_s if asked_s is None else asked_s
            if not isinstance(item, WindowResult):
                continue
            if asked_s is None:
                _refuse_silence(item)
            if began_s is None:
                if asked_s is None or item.end_s - node.window_s < asked_s - _TOLERANCE_S:
                    continue  # what was heard before was not said to be normal
                began_s = item.end_s - node.window_s
            session.take(item)
            heard_s = item.end_s - began_s
            level = "" if item.level_dbfs is None else f", {item.level_dbfs:.0f} dBFS"
            yield session.progress(min(heard_s, wanted_s), item.text + level)
            if heard_s >= wanted_s:
                break
        session.finish(request.bundle_hash)
        return session.progress(wanted_s, "enrolled").model_copy(update={"sample": session.sample()})
    except BaseException:  # also when nobody waits any more (GeneratorExit), or the daemon stops
        session.withdraw()
        raise
    finally:
        node.running.set_learning(machine, learning=False)


def _go_on_unless(cancelled: Cancelled, machine: str) -> None:
    if cancelled():
        raise ControlError("the enrolment was cancelled", where=machine)


def _refuse_silence(first: WindowResult) -> None:
    """Refuse to wait for a source that has no sound: a person who asks now wants to know now."""
    if first.state is MachineState.NO_AUDIO:
        raise AudioError(first.text, where=first.machine, hint="`edge-monitor devices` lists the inputs")


def listen(node: Node, request: OfMachine, cancelled: Cancelled) -> Generator[Reading, None, Nothing]:
    """Yield a meter reading for each half second of the machine's sound, and every loss of it, for ever."""
    node.machine(request.machine)
    pending: list[AudioBlock] = []
    for item in node.running.hear(request.machine):
        if cancelled():
            break
        if isinstance(item, AudioLoss):
            yield Reading(loss=item.reason, verdict=node.running.verdict(request.machine))
        elif isinstance(item, AudioBlock):
            if pending and pending[0].rate_hz != item.rate_hz:
                pending = []
            pending.append(item)
            if pending[-1].end_s - pending[0].start_s >= READING_S:
                samples = np.concatenate([block.samples for block in pending])
                verdict = node.running.verdict(request.machine)
                yield Reading(meter=meter(samples, item.rate_hz), verdict=verdict)
                pending = []
    return Nothing()
