"""Measuring how faint a fault a machine's generation hears, once its sound is at hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import ControlError, NormalsError
from edge_monitor.memory.audibility import Audibility
from edge_monitor.memory.generations import active_generation, set_calibration
from edge_monitor.memory.leaveout import block_of
from edge_monitor.memory.normals import Normals
from edge_monitor.node.audibility import TRIALS, HeldOutScorer, Listener, measure
from edge_monitor.node.enrolled_sound import EnrolledSound
from edge_monitor.node.learnt import not_enrolled, require_bundle, require_same
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.node.running import NotRunning
from edge_monitor.node.vectors import read_vectors
from edge_monitor.node.verdict import Verdict, facts_of, judge
from edge_monitor.store.snapshot import lower_priority

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled
    from edge_monitor.records import Samples, Vector

_NICENESS = 5  # beside a daemon's audio, which then gets three times as much of a core; somebody waits for the answer


class MeasureAudibility(OfMachine):
    """The sound to mix faults into."""

    sound: EnrolledSound
    bundle_hash: str


class AudibilityProgress(Message):
    """How much is done."""

    done: float  # 0 to 1


class MeasuredAudibility(Message):
    """What the active generation hears."""

    generation: int
    audibility: Audibility
    audible: str  # the same for a person
    verdict: Verdict  # with what is known now


def measure_audibility(
    node: Node, request: MeasureAudibility, cancelled: Cancelled
) -> Generator[AudibilityProgress, None, MeasuredAudibility]:
    """Mix fault sounds into enrolled sound, and note with the active generation how faint they are heard.

    The sound is gone afterwards. Raises NormalsError when the machine is not enrolled, or too little of the sound is in
    use, BundleMismatchError when it was enrolled with another bundle, or the asker has another.
    """
    machine = request.machine
    node.machine(machine)
    require_same(node, request.bundle_hash)
    frames = node.bundle.manifest.audio.window_samples
    with node.files.using(request.sound.file) as file:
        heard = read_vectors(file, frames, most=TRIALS)  # (windows, frames)
    node.files.forget(request.sound.file)
    with node.reading() as connection:
        generation = active_generation(connection, machine)
        if generation is None:
            raise not_enrolled(machine)
        require_bundle(node, machine, generation.bundle_hash)
        normals = Normals(connection, machine)
        vectors, layout = normals.vectors(generation.members), normals.layout(generation.members)
        ids = {each.sha256: each.id for each in normals.recordings()}
    used = set(layout.recording.tolist())
    known = [
        (samples, (ids[each.sha256], block_of(each.start_s)))
        for samples, each in zip(heard, request.sound.windows, strict=False)
        if ids.get(each.sha256) in used
    ]
    if not known:
        raise NormalsError("none of this sound is enrolled", where=machine)
    trials = [known[number % len(known)] for number in range(TRIALS)]
    origin = [each for _, each in trials]
    scorer = HeldOutScorer(vectors, layout, node.metric, origin, k=generation.k, window_s=node.window_s)
    encoder = Encoder(node.bundle, 1)
    yields = None if isinstance(node.running, NotRunning) else partial(lower_priority, _NICENESS)
    with ThreadPoolExecutor(1, "audibility", yields) as pool:

        def embed(window: Samples) -> Vector:
            if cancelled():
                raise ControlError("how faint a fault is heard was not measured: nobody waits for it", where=machine)
            vector: Vector = pool.submit(encoder.embed, window[None, :]).result()[0]
            return vector

        listener = Listener(embed, scorer.scores, generation.calibration, encoder.sample_rate_hz)
        found = yield from _told(measure([samples for samples, _ in trials], listener))
    calibration = replace(generation.calibration, audibility=found)
    node.commit(lambda connection: set_calibration(connection, machine, generation.number, calibration))
    node.running.generation_changed(machine)
    with node.reading() as connection:
        active = active_generation(connection, machine)
        verdict = judge(facts_of(connection, node.machine(machine), active))
    return MeasuredAudibility(generation=generation.number, audibility=found, audible=found.sentence(), verdict=verdict)


def _told(steps: Generator[float, None, Audibility]) -> Generator[AudibilityProgress, None, Audibility]:
    while True:
        try:
            yield AudibilityProgress(done=next(steps))
        except StopIteration as end:
            audibility: Audibility = end.value
            return audibility
