"""What must and must not raise an alarm, through the whole chain from samples to events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from edge_monitor.alarm.state_machine import Restored
from edge_monitor.capture.recording import Recording
from edge_monitor.capture.resampling import resample
from edge_monitor.config.machine import MachineSettings, RecordingSource
from edge_monitor.config.settings import Settings
from edge_monitor.encode.encoder import Encoder
from edge_monitor.memory.generations import set_standing
from edge_monitor.node.generations import BuildGeneration, build_next
from edge_monitor.node.learnt import load_learnt
from edge_monitor.node.live import EnrollLive, enroll_live
from edge_monitor.node.node import Node
from edge_monitor.pipeline.machine_pipeline import Learnt, MachinePipeline, NotLearnt, WindowResult
from edge_monitor.records import AudioBlock
from tests.sounds import pump

if TYPE_CHECKING:
    from edge_monitor.memory.generations import Generation
    from edge_monitor.records import Samples

SEEDS = (11, 12)  # other machines than the ones the simulator and the thresholds were looked at with


def node(folder: Path, **source: Any) -> Node:  # noqa: ANN401 - SimulatorSource's own fields
    """Return a node with one simulated machine and ten minutes of its healthy sound enrolled."""
    settings = Settings.model_validate(
        {
            "node": {"site": "plant", "name": "edge", "state_dir": str(folder)},
            "machine": [{"name": "machine", "source": {"kind": "simulator", "pace": "max", **source}}],
        }
    )
    made = Node(settings)
    made.state_dir.create()
    wanted = EnrollLive(machine="machine", minutes=10.0, bundle_hash=made.bundle.bundle_hash)
    list(enroll_live(made, wanted, lambda: False))
    build_next(made, BuildGeneration(machine="machine", reason="enroll"))
    return made


@pytest.fixture(scope="module")
def pump_node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Return a node that knows the pump."""
    return node(tmp_path_factory.mktemp("pump"), machine="pump")


def hear(known: Node, folder: Path, samples: Samples) -> list[WindowResult]:
    """Return what a recording comes to, window by window."""
    path = folder / "sound.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    source = RecordingSource(kind="recording", path=path, pace="max")
    settings = MachineSettings(name="machine", source=source)
    pipeline = MachinePipeline(
        settings,
        Encoder(known.bundle),
        hop_s=1.0,
        learnt=load_learnt(known, "machine"),
        restored=Restored(),
        new_id=lambda: "alarm",
    )
    return [heard for block in Recording("machine", source).items() for heard in pipeline.process(block, lambda: 0)]


def alarms(heard: list[WindowResult]) -> list[tuple[str, float]]:
    """Return kind and stream time of the events."""
    return [(each.event.kind.value, each.event.at_s) for each in heard if each.event is not None]


def states(heard: list[WindowResult]) -> list[str]:
    """Return the states in order, each once."""
    labels = [each.state.label for each in heard]
    return [label for i, label in enumerate(labels) if i == 0 or labels[i - 1] != label]


def test_one_burst_is_no_alarm(pump_node: Node, tmp_path: Path) -> None:
    """One 50 ms burst at full scale lifts the windows it sits in over the threshold, and raises nothing."""
    sound = pump(120, take=3)
    burst = np.random.default_rng(0).uniform(-0.9, 0.9, 800).astype(np.float32)
    sound[60 * 16_000 : 60 * 16_000 + 800] += burst
    heard = hear(pump_node, tmp_path, sound)
    above = [each.end_s for each in heard if each.score is not None and each.score.exceeds]
    assert len(above) >= 9
    assert min(above) >= 60.0
    assert max(above) <= 71.0
    assert alarms(heard) == []


def test_a_machine_that_stops_and_starts_is_not_running(pump_node: Node, tmp_path: Path) -> None:
    """A stop and a start in the stream are not-running between normal and normal, never an alarm."""
    heard = hear(pump_node, tmp_path, pump(240, take=4, stops=[[80.0, 140.0]]))
    assert states(heard) == ["normal", "not-running", "normal"]
    assert alarms(heard) == []


def test_a_standstill_that_is_too_long_is_warned_of_once(pump_node: Node) -> None:
    """Of three standstills the two that last longer than 20 s are one warning each; the text says it all the while."""
    settings = MachineSettings.model_validate(
        {"name": "machine", "source": {"kind": "simulator"}, "running": {"gate": -60, "not_running_max_s": 20}}
    )
    pipeline = MachinePipeline(
        settings, Encoder(pump_node.bundle), hop_s=1.0, learnt=NotLearnt(), restored=Restored(), new_id=str
    )
    stands = [False] * 30 + [True] * 60 + [False] * 30 + [True] * 15 + [False] * 30 + [True] * 60
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000).astype(np.float32)
    heard: list[WindowResult] = []
    with capture_logs() as logs:
        for start_s, stood in enumerate(stands):
            sound = noise * np.float32(1e-3 if stood else 1.0)
            heard += pipeline.process(AudioBlock("machine", sound, 16_000, float(start_s)), lambda: 0)
    assert [each["event"] for each in logs] == ["machine.not_run_too_long"] * 2
    told = [each.end_s for each in heard if "not_running_max_s" in each.text]
    assert told == [*range(51, 91), *range(186, 226)]


@pytest.fixture(scope="module")
def other_pumps(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Node]:
    """Return nodes that know other pumps, by the pump's seed."""
    return {seed: node(tmp_path_factory.mktemp("other"), machine="pump", seed=seed) for seed in SEEDS}


@pytest.mark.parametrize(
    ("fault", "level_db", "seed"),
    [
        ("bearing", 6, 11),
        ("cavitation", 6, 12),
        ("belt", 6, 11),
        ("rattle", 6, 12),
        ("imbalance", 12, 11),  # of 6 dB it is no gross fault: the long memory's
        ("no-flow", 6, 12),
    ],
)
def test_every_simulated_fault_raises(
    fault: str, level_db: float, seed: int, other_pumps: dict[int, Node], tmp_path: Path
) -> None:
    """Each fault raises an alarm within two minutes, and nothing is raised in the minute before it."""
    known = other_pumps[seed]
    faulty = pump(120, seed=seed, take=2, fault=fault, fault_db=level_db)
    sound = np.concatenate([pump(60, seed=seed, take=1), faulty])
    [first, *_] = alarms(hear(known, tmp_path, sound))
    assert first[0] == "start"
    assert 60.0 < first[1] <= 180.0


@pytest.mark.parametrize("kind", ["pump", "fan", "gearbox"])
def test_healthy_machines_raise_nothing(kind: str, tmp_path: Path) -> None:
    """Five more minutes of another take of each healthy machine pass without an alarm."""
    known = node(tmp_path / "state", machine=kind, seed=21)
    assert alarms(hear(known, tmp_path, pump(300, machine=kind, seed=21, take=1))) == []


@pytest.mark.parametrize("gain_db", [-20.0, -9.0, 12.0])
def test_a_gain_changed_by_the_operating_system_is_sensor_changed(
    gain_db: float, pump_node: Node, tmp_path: Path
) -> None:
    """A step of the gain is sensor-changed within 10 s for as long as it lasts, and never an alarm or a standstill."""
    sound = pump(180, take=3)
    sound[60 * 16_000 : 120 * 16_000] *= np.float32(10 ** (gain_db / 20))
    heard = hear(pump_node, tmp_path, sound)
    assert {each.state.label for each in heard if 70.0 <= each.end_s <= 120.0} == {"sensor-changed"}
    assert {each.state.label for each in heard if each.end_s <= 60.0 or each.end_s > 145.0} == {"normal"}
    assert alarms(heard) == []


def test_a_sample_rate_lowered_by_the_operating_system_is_sensor_changed(pump_node: Node, tmp_path: Path) -> None:
    """A microphone that falls back to 8 kHz loses its upper half: sensor-changed, not an alarm of the machine."""
    sound = pump(120, take=3)
    sound[60 * 16_000 :] = resample(resample(sound[60 * 16_000 :], 16_000, 8_000), 8_000, 16_000)
    heard = hear(pump_node, tmp_path, sound)
    assert states(heard) == ["normal", "sensor-changed"]
    assert heard[-1].text == "nothing is heard above 3564 Hz any more: the sample rate has been lowered"
    assert alarms(heard) == []


def test_a_microphone_that_is_covered_while_the_machine_stands_is_told(pump_node: Node, tmp_path: Path) -> None:
    """Once three stops were heard; before, a quiet machine stands. Uncovered, the hall is a stop as before."""
    covered = pump(240, take=5, stops=[[60.0, 240.0]])
    covered[100 * 16_000 : 170 * 16_000] *= np.float32(0.02)
    assert states(hear(pump_node, tmp_path, covered)) == ["normal", "not-running"]
    stops = [pump(150, take=take, stops=[[30.0, 120.0]]) for take in (4, 6, 7)]
    heard = hear(pump_node, tmp_path, np.concatenate([*stops, covered]))
    assert states(heard) == ["normal", "not-running"] * 4 + ["sensor-changed", "not-running"]
    [learnt] = [each for each in heard if each.standing_dbfs is not None]
    assert learnt.standing_dbfs == pytest.approx(-50.0, abs=4.0)
    told = next(each for each in heard if each.state.label == "sensor-changed")
    assert told.end_s - 550.0 <= 60.0
    assert told.text.startswith("microphone covered or gone: 3")
    assert told.text.endswith(" dB below the quietest that was learnt")
    pump_node.commit(lambda connection: set_standing(connection, "machine", 1, learnt.standing_dbfs or 0.0))
    try:  # the daemon was restarted meanwhile
        assert "sensor-changed" in states(hear(pump_node, tmp_path, covered))
    finally:
        pump_node.commit(lambda connection: connection.execute("UPDATE generations SET standing_dbfs = NULL"))


def test_a_microphone_gone_to_its_converters_noise_is_told_of_a_machine_that_never_stops(
    pump_node: Node, tmp_path: Path
) -> None:
    """Without any stop: -115 dBFS is no hall. Within a minute, and not as a machine that stands."""
    sound = pump(140, take=3)
    noise = 10 ** (-115 / 20) * np.random.default_rng(0).standard_normal(80 * 16_000)
    sound[60 * 16_000 :] = noise.astype(np.float32)
    gone = [each for each in hear(pump_node, tmp_path, sound) if each.end_s > 70.0]
    told = [each.end_s for each in gone if each.state.label == "sensor-changed"]
    assert told[0] <= 120.0
    assert gone[-1].text.startswith("microphone covered or gone: ")
    assert gone[-1].text.endswith(" dB below the level gate")


def test_a_standstill_goes_on_with_a_generation_that_is_alike(pump_node: Node, tmp_path: Path) -> None:
    """What was learnt while a generation was built is noted with it; another gate begins anew."""
    learnt = load_learnt(pump_node, "machine")
    assert isinstance(learnt, Learnt)
    generation = learnt.scorer.generation
    soundfile.write(tmp_path / "sound.wav", pump(20, take=3), 16_000, subtype="FLOAT")
    source = RecordingSource(kind="recording", path=tmp_path / "sound.wav", pace="max")
    blocks = list(Recording("machine", source).items())
    for moved_db, expected in ((0.0, [-50.0]), (3.0, [])):
        before = replace(generation, standing_dbfs=-50.0)
        after = replace(generation, number=2, gate_dbfs=(generation.gate_dbfs or 0.0) + moved_db)
        pipeline = MachinePipeline(
            MachineSettings(name="machine", source=source),
            Encoder(pump_node.bundle),
            hop_s=1.0,
            learnt=of_generation(learnt, before),
            restored=Restored(),
            new_id=lambda: "alarm",
        )
        pipeline.swap(of_generation(learnt, after))
        heard = [result for block in blocks for result in pipeline.process(block, lambda: 0)]
        assert [each.standing_dbfs for each in heard if each.standing_dbfs is not None] == expected


def of_generation(learnt: Learnt, generation: Generation) -> Learnt:
    """Return what was learnt as if it were this generation's."""
    return replace(learnt, scorer=replace(learnt.scorer, generation=generation))


@pytest.mark.parametrize("offset", [-0.2, 0.2])
def test_an_offset_changes_no_verdict(pump_node: Node, tmp_path: Path, offset: float) -> None:
    """A DC offset of the microphone is in no level and no state: running, standing, and through another gain."""
    sound = np.concatenate([pump(60, take=4, stops=[[20.0, 40.0]]), np.float32(0.2) * pump(20, take=3)])
    without, there = hear(pump_node, tmp_path, sound), hear(pump_node, tmp_path, sound + np.float32(offset))
    assert [each.state for each in there] == [each.state for each in without]
    levels = [each.level_dbfs for each in without if each.level_dbfs is not None]
    assert [each.level_dbfs for each in there] == pytest.approx(levels, abs=0.01)


def test_a_changed_gain_does_not_end_an_alarm(pump_node: Node, tmp_path: Path) -> None:
    """An active alarm is held while the gain is another one: what is not scored clears nothing."""
    sound = np.concatenate([pump(60, take=2, fault="cavitation", fault_db=12.0), 0.1 * pump(120, take=3)])
    heard = hear(pump_node, tmp_path, sound)
    assert [kind for kind, _ in alarms(heard)] == ["start"]
    assert heard[-1].state.label == "sensor-changed"


def test_an_enrolment_hears_a_changed_gain_as_the_new_normal(pump_node: Node) -> None:
    """Learning at a gain turned down by 20 dB takes every window, though the old gate calls them standstill."""
    settings = MachineSettings(name="machine", source=RecordingSource(kind="recording", path=Path("-"), pace="max"))
    pipeline = MachinePipeline(
        settings,
        Encoder(pump_node.bundle),
        hop_s=10.0,
        learnt=load_learnt(pump_node, "machine"),
        restored=Restored(),
        new_id=str,
    )
    pipeline.learning = True
    quiet = 0.1 * pump(40, take=3)
    heard = list(pipeline.process(AudioBlock("machine", quiet, 16_000, 0.0), lambda: 0))
    assert [each.state.label for each in heard] == ["learning"] * 4
    assert all(each.embedding is not None for each in heard)
