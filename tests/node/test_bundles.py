"""A node with another bundle than the built-in one, and the way from one bundle to another."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from edge_monitor.capture.recording import read_clip
from edge_monitor.node.used_bundle import GO_OVER
from tests.broker import Broker, Subscriber
from tests.encode.foreign import ForeignBundle
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Product]

REFUSED = (
    "edge-monitor: pump: enrolled with spectral, the configured bundle is foreign (set model.bundle back; or go over"
    " with `edge-monitor enroll --re-embed` where the sound was kept, else with `edge-monitor enroll --anew"
    " RECORDINGS`)\n"
)


def brightness_model() -> bytes:
    """Return a graph from (batch, 12000) to the log powers of the sound and of its two first differences (batch, 3)."""
    nodes, powers = [], []
    signal = "audio"
    for order in range(3):
        nodes += [
            helper.make_node("Mul", [signal, signal], [f"square{order}"]),
            helper.make_node("ReduceMean", [f"square{order}"], [f"power{order}"], axes=[1], keepdims=1),
            helper.make_node("Slice", [signal, "one", "end", "axis"], [f"later{order}"]),
            helper.make_node("Slice", [signal, "zero", "last", "axis"], [f"earlier{order}"]),
            helper.make_node("Sub", [f"later{order}", f"earlier{order}"], [f"difference{order}"]),
        ]
        powers.append(f"power{order}")
        signal = f"difference{order}"
    nodes += [
        helper.make_node("Concat", powers, ["powers"], axis=1),
        helper.make_node("Add", ["powers", "floor"], ["floored"]),
        helper.make_node("Log", ["floored"], ["thirds"]),
    ]
    numbers = {"zero": 0, "one": 1, "last": -1, "axis": 1, "end": 1 << 40}
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in numbers.items()]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("thirds", TensorProto.FLOAT, ["batch", 3])],
        [*constants, helper.make_tensor("floor", TensorProto.FLOAT, [1], [1e-10])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def drop_in(product: Product) -> None:
    """Put the foreign bundle (8 kHz, 1.5 s, 3 dimensions) into the node's models folder, and configure it."""
    ForeignBundle(product.state / "models" / "foreign").write(
        model=brightness_model(), old='normalize = "unit"', new='normalize = "none"'
    )
    product.bundle = "foreign"


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Return a folder of ten seconds of a faulty pump."""
    write_clips(tmp_path / "faulty", "faulty", pump(10, take=2, fault="bearing", fault_db=12.0))
    return tmp_path / "faulty"


def test_a_foreign_encoder_runs_the_whole_chain(tmp_path: Path, healthy_clips: Path, faulty: Path) -> None:
    """A folder dropped into {state_dir}/models is enrolled with, scores, and raises an alert; no code is touched."""
    clips = tmp_path / "clips"
    write_clips(clips, "0_healthy", pump(60, take=1))
    write_clips(clips, "1_faulty", pump(40, take=2, fault="bearing", fault_db=12.0))
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = Product(tmp_path, f'{{ kind = "recording", path = "{clips}", pace = "max" }}', mqtt_port=broker.port)
        drop_in(product)
        enrolled = product.answer("enroll", str(healthy_clips))
        assert (enrolled["metric"], enrolled["active"]) == ("euclidean", True)
        assert product.answer("score", str(faulty))["anomalous"]
        assert product.command("run").returncode == 0
        [start] = [json.loads(message.payload) for message in scada.wait_for("edge-monitor/v1/plant/edge/pump/alert")]
    assert (start["event"], start["bundle"]) == ("start", "foreign")
    assert start["window_end_s"] > 60.0
    assert product.rows("SELECT DISTINCT length(vector) FROM normals") == [(12,)]


def test_another_bundle_without_enrolling_is_refused(enrolled: Make, healthy_clips: Path, faulty: Path) -> None:
    """`run`, `score` and `enroll` each say in one line what was enrolled, what is configured and how to go on."""
    product = enrolled()
    drop_in(product)
    assert product.command("run").stderr.splitlines(keepends=True)[-1] == REFUSED
    for arguments in (["run"], ["score", str(faulty)], ["enroll", str(healthy_clips)], ["enroll", "--live", "1"]):
        done = product.command(arguments[0], *arguments[1:])
        assert done.returncode == 1
        assert [line for line in done.stderr.splitlines(keepends=True) if "enrolled with" in line] == [REFUSED]
        assert "Traceback" not in done.stderr
    product.bundle = "spectral"
    assert product.answer("score", str(faulty))["anomalous"]


def test_without_kept_sound_nothing_is_embedded_again(enrolled: Make) -> None:
    """What cannot be heard again is said; what was enrolled stays."""
    product = enrolled()
    drop_in(product)
    done = product.command("enroll", "--re-embed")
    assert done.returncode == 1
    assert "pump: no sound was kept to hear again" in done.stderr
    assert product.rows("SELECT count(*) > 50, sum(removed_ms IS NOT NULL) FROM normals") == [(1, 0)]


def test_kept_sound_is_heard_by_another_bundle(tmp_path: Path, healthy_clips: Path, faulty: Path) -> None:
    """`--keep-audio` keeps the very samples; `--re-embed` goes over to the new bundle, and one can go back."""
    product = Product(tmp_path, '{ kind = "simulator", pace = "max", seconds = 1 }')
    first = product.answer("enroll", str(healthy_clips), "--keep-audio")
    kept = sorted((product.state / "audio" / "pump").iterdir())
    assert len(kept) == 60
    names = dict(product.rows("SELECT sha256, name FROM recordings"))
    for path in kept[:5]:
        original, rate_hz = read_clip(healthy_clips / names[path.stem])
        again, again_hz = read_clip(path)
        assert (path.suffix, again_hz) == (".flac", rate_hz)
        np.testing.assert_array_equal(again, original)

    drop_in(product)
    second = product.answer("enroll", "--re-embed")
    assert (second["generation"], second["reason"], second["active"]) == (2, "re-embed", True)
    assert second["bundle_hash"] != first["bundle_hash"]
    assert second["normals"] > 300  # 1.5 s windows instead of 10 s ones
    assert product.answer("score", str(faulty))["anomalous"]
    listed = product.answer("normals list")
    assert {(recording["removed"], recording["normals"] > 3) for recording in listed} == {(0, True)}
    refused = product.command("generations activate", "1")
    assert refused.stderr == REFUSED
    twice = product.command("enroll", "--re-embed").stderr
    assert twice.splitlines()[-1] == "edge-monitor: pump: already enrolled with foreign"

    product.bundle = "spectral"
    assert "enrolled with foreign, the configured bundle is spectral" in product.command("run").stderr
    assert product.answer("generations activate", "1")["active"]
    assert product.answer("score", str(faulty))["generation"] == 1
    third = product.answer("enroll", "--re-embed")
    assert (third["normals"], third["threshold"]) == (first["normals"], pytest.approx(first["threshold"]))
    assert product.answer("normals remove", "healthy_000.wav")["left"] == first["normals"] - 1
    assert product.answer("normals restore", "healthy_000.wav")["left"] == first["normals"]


def test_what_was_learnt_with_a_superseded_bundle_goes_on_with_it(
    tmp_path: Path, healthy_clips: Path, faulty: Path
) -> None:
    """A new version scores nothing otherwise by itself: the doctor says how to go over, and kept sound does it."""
    product = Product(tmp_path, '{ kind = "simulator", pace = "max", seconds = 1 }', bundle="spectral-1")
    first = product.answer("enroll", str(healthy_clips), "--keep-audio")
    scored = product.answer("score", str(faulty))

    product.bundle = "spectral"
    assert product.answer("score", str(faulty)) == scored
    run = product.command("run")
    assert (run.returncode, GO_OVER in run.stderr) == (0, True)
    told = [each for each in product.answer("doctor")["findings"] if each["check"] == "bundle"]
    assert [(each["result"], each["hint"]) for each in told][1:] == [("warn", GO_OVER)]
    assert "spectral-1" in told[0]["text"]

    second = product.answer("enroll", "--re-embed")
    assert (second["generation"], second["bundle_hash"] != first["bundle_hash"]) == (2, True)
    assert product.answer("score", str(faulty))["anomalous"]
    told = [each["result"] for each in product.answer("doctor")["findings"] if each["check"] == "bundle"]
    assert told == ["ok"]


def test_with_two_machines_the_superseded_bundle_is_used_until_one_has_gone_over(
    tmp_path: Path, healthy_clips: Path
) -> None:
    """Vectors of two bundles never mix in one node: then the other machine is told to go over too."""
    fan = '[[machine]]\nname = "fan"\nsource = { kind = "simulator", machine = "fan", pace = "max", seconds = 1 }\n'
    product = Product(tmp_path, '{ kind = "simulator", pace = "max", seconds = 1 }', bundle="spectral-1", tables=fan)
    for machine in ("pump", "fan"):
        product.answer("enroll", str(healthy_clips), "--keep-audio", "--machine", machine)
    product.bundle = "spectral"
    assert product.command("run").returncode == 0
    product.answer("enroll", "--re-embed", "--machine", "fan")
    assert "pump: enrolled with spectral-1, the configured bundle is spectral" in product.command("run").stderr
    product.answer("enroll", "--re-embed", "--machine", "pump")
    assert product.command("run").returncode == 0


def test_a_recording_whose_sound_is_not_kept_is_named_and_left_out(tmp_path: Path, healthy_clips: Path) -> None:
    """One of them is missing, one is damaged: both are told, the others are enough."""
    product = Product(tmp_path, '{ kind = "simulator", pace = "max", seconds = 1 }')
    product.answer("enroll", str(healthy_clips), "--keep-audio")
    names = dict(product.rows("SELECT name, sha256 FROM recordings"))
    (product.state / "audio/pump" / f"{names['healthy_003.wav']}.flac").unlink()
    (product.state / "audio/pump" / f"{names['healthy_004.wav']}.flac").write_bytes(b"fLaC")
    drop_in(product)
    done = product.command("enroll", "--re-embed", "--json")
    assert done.returncode == 0, done.stderr
    assert "healthy_003.wav: left out: its sound was not kept" in done.stderr
    assert "healthy_004.wav: left out: " in done.stderr
    left = [each for each in product.answer("normals list") if each["normals"]]
    assert len(left) == 58


def test_sound_can_be_kept_afterwards(enrolled: Make, healthy_clips: Path) -> None:
    """Naming the recordings again with `--keep-audio` keeps them; nothing is enrolled twice."""
    product = enrolled()
    before = product.rows("SELECT count(*) FROM normals")
    product.answer("enroll", str(healthy_clips), "--keep-audio")
    assert product.rows("SELECT count(*) FROM normals") == before
    assert len(list((product.state / "audio/pump").glob("*.flac"))) == 60


def test_enrolling_anew_leaves_the_old_bundle_behind(enrolled: Make, healthy_clips: Path, faulty: Path) -> None:
    """Without kept sound, recordings given anew replace what was enrolled; the old generation stays to go back to."""
    product = enrolled()
    drop_in(product)
    built = product.answer("enroll", str(healthy_clips), "--anew")
    assert (built["generation"], built["normals"] > 300) == (2, True)
    assert product.answer("score", str(faulty))["generation"] == 2
    product.bundle = "spectral"
    assert product.answer("generations activate", "1")["active"]
    assert product.answer("score", str(faulty))["generation"] == 1


def test_live_sound_is_kept_at_its_own_rate(tmp_path: Path) -> None:
    """Live enrolment keeps each block at the source's rate, a gap ends a block, and another bundle can hear it."""
    rate_hz = 24_000
    clips = tmp_path / "clips"
    clips.mkdir()
    for number, seconds in enumerate((45, 65)):
        sound = np.random.default_rng(number).normal(0.0, 0.1, seconds * rate_hz).astype(np.float32)
        soundfile.write(clips / f"{number}.wav", sound, rate_hz, subtype="PCM_16")
    product = Product(tmp_path, f'{{ kind = "recording", path = "{clips}", pace = "max" }}')
    product.answer("enroll", "--live", "1.8", "--keep-audio")
    kept = sorted((product.state / "audio/pump").glob("*.flac"))
    assert {soundfile.info(path).samplerate for path in kept} == {rate_hz}
    told = dict(product.rows("SELECT sha256, seconds FROM recordings"))
    assert {path.stem: soundfile.info(path).duration for path in kept} == pytest.approx(told)
    found = [read_clip(path)[0] for path in kept]
    whole = np.concatenate([read_clip(clips / f"{number}.wav")[0] for number in (0, 1)])
    for sound in found:  # each is one stretch of one file, sample for sample
        at = np.flatnonzero(whole == sound[0])
        assert any(np.array_equal(whole[i : i + len(sound)], sound) for i in at)
    drop_in(product)
    assert product.answer("enroll", "--re-embed")["active"]


def test_a_running_daemon_with_another_bundle_is_not_deceived(enrolled: Make, healthy_clips: Path) -> None:
    """What the configuration says by now and what the daemon runs with differ: it is told, nothing is stored."""
    product = enrolled()
    before = product.rows("SELECT count(*) FROM normals")
    with product.daemon():
        drop_in(product)
        for arguments in ([str(healthy_clips)], ["--re-embed"]):
            done = product.command("enroll", *arguments)
            assert done.returncode == 1
            assert "the daemon runs with the bundle spectral " in done.stderr
            assert "stop the daemon first" in done.stderr
        product.bundle = "spectral"
        product.answer("enroll", str(healthy_clips), "--keep-audio")  # through the daemon
    assert len(list((product.state / "audio/pump").glob("*.flac"))) == 60
    assert product.rows("SELECT count(*) FROM normals") == before


def test_a_full_disk_keeps_no_sound(tmp_path: Path, healthy_clips: Path) -> None:
    """Below the free space that retention keeps, the recording is refused with a line that says so."""
    product = Product(tmp_path, '{ kind = "simulator", pace = "max", seconds = 1 }')
    free_mb = shutil.disk_usage(tmp_path).free // 1_000_000 + 1_000_000
    product.extra = f"[retention]\nfree_mb = {free_mb}"
    done = product.command("enroll", str(healthy_clips / "healthy_000.wav"), "--keep-audio")
    assert done.returncode == 1
    assert f"would leave less than {free_mb} MB free" in done.stderr
    assert not list(product.state.glob("audio/pump/*"))


def test_a_missing_bundle_is_told_with_the_command_that_gets_it(tmp_path: Path) -> None:
    """`run` with a bundle that is a recipe so far is one line; `models list` has the same."""
    product = Product(tmp_path, '{ kind = "simulator", pace = "max", seconds = 1 }')
    drop_in(product)
    (product.state / "models/foreign/net/encoder.onnx").unlink()
    done = product.command("run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"edge-monitor: {product.state}/models/foreign: net/encoder.onnx is missing "
        "(copy the bundle again from its source, or get it with `fetch-foreign --all`)"
    )
