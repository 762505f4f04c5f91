"""What is learnt has one bandwidth: another sample rate is never learnt beside it, nor scored by it."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.alarm.state_machine import Restored
from edge_monitor.capture.recording import Recording
from edge_monitor.capture.resampling import resample
from edge_monitor.config.machine import MachineSettings, RecordingSource
from edge_monitor.config.settings import Settings
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleMismatchError, NormalsError
from edge_monitor.memory.normal import Descriptors
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.portable import write_recordings
from edge_monitor.node.bandwidth import recording_highest_hz
from edge_monitor.node.clips import encode_clip, recording_of
from edge_monitor.node.generations import BuildGeneration, build_next
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.learnt import load_learnt
from edge_monitor.node.live import EnrollLive, enroll_live
from edge_monitor.node.node import Node
from edge_monitor.node.normals import AddRecording, add
from edge_monitor.node.transfer import ImportNormals, import_
from edge_monitor.pipeline.machine_pipeline import MachinePipeline, WindowResult
from tests.sounds import pump

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from edge_monitor.node.operation import A
    from edge_monitor.records import Samples

    Make = Callable[[Path], Node]

LOWERED = "nothing is heard above 3564 Hz any more: the sample rate has been lowered"
RAISED = "there is sound above 3564 Hz, where nothing was learnt: the sample rate was raised"


def recorded(folder: Path, name: str, sound: Samples, rate_hz: int) -> Path:
    """Write sound of 16 kHz as a file of another rate, of 16 bits, and return its path."""
    path = folder / f"{name}_{rate_hz}.wav"
    soundfile.write(path, resample(sound, 16_000, rate_hz), rate_hz, subtype="PCM_16")
    return path


def source(path: Path) -> RecordingSource:
    """Return a file as a source."""
    return RecordingSource(kind="recording", path=path, pace="max")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes a node which knows nothing yet, and whose machine plays a file."""
    with ExitStack() as stack:

        def made(path: Path) -> Node:
            machine = {"name": "machine", "source": source(path).model_dump()}
            node = {"site": "plant", "name": "edge", "state_dir": str(tmp_path)}
            known = Node(Settings.model_validate({"node": node, "machine": [machine]}))
            known.state_dir.create()
            stack.callback(known.files.close)
            return known

        yield made


def sent(known: Node, path: Path, bundle_hash: str = "") -> str:
    """Return the id of a recording as `enroll` sends it, which is also how an export is."""
    encoder, content = Encoder(known.bundle), io.BytesIO()
    clip = encode_clip(path, encoder, 1, encoder.window_s, measured=True)
    write_recordings(content, "machine", [recording_of(clip)], bundle_hash=bundle_hash or known.bundle.bundle_hash)
    file = known.files.create()
    known.files.append(file, 0, content.getvalue())
    return file


def enrol(known: Node, path: Path) -> None:
    """Have a recording remembered."""
    file, bundle_hash = sent(known, path), known.bundle.bundle_hash
    list(add(known, AddRecording(machine="machine", file=file, bundle_hash=bundle_hash), lambda: False))
    known.files.forget(file)


def ended(operation: Generator[object, None, A]) -> A:
    """Return what a long operation answers."""
    while True:
        try:
            next(operation)
        except StopIteration as end:
            answer: A = end.value
            return answer


def hear(known: Node, path: Path) -> list[WindowResult]:
    """Return what a recording comes to, window by window."""
    pipeline = MachinePipeline(
        MachineSettings(name="machine", source=source(path)),
        Encoder(known.bundle),
        hop_s=5.0,
        learnt=load_learnt(known, "machine"),
        restored=Restored(),
        new_id=lambda: "alarm",
    )
    return [
        heard for block in Recording("machine", source(path)).items() for heard in pipeline.process(block, lambda: 0)
    ]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return recordings of 8 and of 16 kHz: a long one to learn from, another take, and one with a fault."""
    folder = tmp_path_factory.mktemp("sounds")
    takes = {"long": pump(180, seed=11), "short": pump(60, seed=11), "take": pump(30, seed=11, take=4)}
    takes["fault"] = pump(30, seed=11, take=5, fault="bearing", fault_db=20.0)
    takes["further"] = pump(30, seed=11, take=6)
    return {
        f"{name} {rate_hz}": recorded(folder, name, sound, rate_hz)
        for name, sound in takes.items()
        for rate_hz in (8000, 16_000)
    }


@pytest.mark.parametrize("learnt", ["long", "short"])
@pytest.mark.parametrize(("enrolled_hz", "heard_hz"), [(8000, 16_000), (16_000, 8000)])
def test_another_rate_than_learnt_is_a_changed_sensor(
    learnt: str, enrolled_hz: int, heard_hz: int, sounds: dict[str, Path], make: Make
) -> None:
    """Raised or lowered, from eighteen normals or six, of a healthy machine or a faulty one: never a score."""
    known = make(sounds["take 16000"])
    enrol(known, sounds[f"{learnt} {enrolled_hz}"])
    build_next(known, BuildGeneration(machine="machine", reason="enroll"))
    for name in ("take", "fault"):
        heard = hear(known, sounds[f"{name} {heard_hz}"])
        told = RAISED if heard_hz > enrolled_hz else LOWERED
        assert {(each.state.label, each.text) for each in heard} == {("sensor-changed", told)}
        assert [each.score for each in heard] == [None] * len(heard)
    same = hear(known, sounds[f"take {enrolled_hz}"])
    assert all(each.score is not None and each.score.ratio < 3 for each in same)


@pytest.mark.parametrize(("enrolled_hz", "further_hz"), [(8000, 16_000), (16_000, 8000)])
def test_another_rate_is_not_learnt_beside_the_first(
    enrolled_hz: int, further_hz: int, sounds: dict[str, Path], make: Make
) -> None:
    """Neither from a file, nor live, nor imported; nothing of it stays, and the first rate is learnt on."""
    known = make(sounds[f"long {further_hz}"])
    enrol(known, sounds[f"short {enrolled_hz}"])
    reach = {8000: "3.6", 16_000: "7.1"}
    refusal = (
        f"reaches {reach[further_hz]} kHz, what is enrolled {reach[enrolled_hz]} kHz: another sample rate, not added"
    )
    with pytest.raises(NormalsError, match=refusal):
        enrol(known, sounds[f"further {further_hz}"])
    wanted = EnrollLive(machine="machine", minutes=1.0, bundle_hash=known.bundle.bundle_hash)
    with pytest.raises(NormalsError, match=refusal):
        list(enroll_live(known, wanted, lambda: False))

    file = sent(known, sounds[f"further {further_hz}"])
    with pytest.raises(NormalsError, match=refusal):
        list(import_(known, ImportNormals(machine="machine", file=file), lambda: False))
    enrol(known, sounds[f"further {enrolled_hz}"])
    with known.reading() as connection:
        assert [each.name for each in Normals(connection, "machine").recordings()] == [
            f"short_{enrolled_hz}.wav",
            f"further_{enrolled_hz}.wav",
        ]


@pytest.mark.parametrize("enrolled", [True, False])
def test_a_live_session_leaves_out_what_has_another_rate(
    enrolled: bool, sounds: dict[str, Path], make: Make, tmp_path: Path
) -> None:
    """40 s of 8 kHz amid three minutes: the blocks of them are told, those of the session's own rate are in use."""
    sound = pump(180, seed=11, take=7)
    sound[70 * 16_000 : 110 * 16_000] = resample(
        resample(sound[70 * 16_000 : 110 * 16_000], 16_000, 8000), 8000, 16_000
    )
    known = make(recorded(tmp_path, "odd", sound, 16_000))
    if enrolled:
        enrol(known, sounds["short 16000"])
    wanted = EnrollLive(machine="machine", minutes=2.8, bundle_hash=known.bundle.bundle_hash, keep_audio=True)
    done = ended(enroll_live(known, wanted, lambda: False))
    told = "enrolled; 1 block left out: reaches 3.6 kHz, what is enrolled 7.1 kHz: another sample rate"
    assert done.text == told
    with known.reading() as connection:
        live = [each for each in Normals(connection, "machine").recordings() if each.name.startswith("live")]
    assert sum(each.normals for each in live) == done.windows > 0
    kept = KeptAudio.of(known, "machine")
    assert len(list(kept.folder.glob("*.flac"))) == len(live)


def test_an_import_of_another_bundle_or_of_ragged_figures_does_no_harm(sounds: dict[str, Path], make: Make) -> None:
    """The first is refused; of windows whose bands are not those of their rate nothing counts as measured."""
    known = make(sounds["take 16000"])
    file = sent(known, sounds["take 16000"], "b" * 64)
    with pytest.raises(BundleMismatchError, match="vectors of another bundle"):
        list(import_(known, ImportNormals(machine="machine", file=file), lambda: False))
    clip = encode_clip(sounds["take 16000"], Encoder(known.bundle), 1, 10.0, measured=True)
    recording = recording_of(clip)
    figures = json.loads(recording.normals[0].descriptors.acoustics)  # type: ignore[union-attr, arg-type]  # measured
    ragged = Descriptors(None, json.dumps(figures | {"noise_db": [-60.0] * 5}))
    normals = [replace(recording.normals[0], descriptors=ragged), *recording.normals[1:]]
    assert recording_highest_hz(replace(recording, normals=normals)) == pytest.approx(7127.0, abs=1.0)


def test_a_bandwidth_that_cannot_be_seen_refuses_nothing(sounds: dict[str, Path], make: Make, tmp_path: Path) -> None:
    """Noise of -110 dBFS has no cliff that shows."""
    known = make(sounds["take 16000"])
    quiet = (10 ** (-110 / 20) * np.random.default_rng(0).standard_normal(30 * 8000)).astype(np.float32)
    soundfile.write(tmp_path / "quiet.wav", quiet, 8000, subtype="FLOAT")
    enrol(known, sounds["short 16000"])
    enrol(known, tmp_path / "quiet.wav")
