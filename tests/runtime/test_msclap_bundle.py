"""The daemon with MS-CLAP in full size; its weights here are random, marked as such in the manifest."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import soundfile

from edge_monitor.explain.captions import redact
from tests.broker import Broker, Subscriber
from tests.enrolled import IDLE
from tests.explained import explain, explanations
from tests.llm_server import GOOD, LlmServer, says
from tests.product import Product
from tests.sound_server import SoundServer, microphone_server_fixture
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from tests.export.full_size import FullSize

__all__ = ["microphone_server_fixture"]

# The first test builds the bundle: minutes on a busy box.
pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]
PEAK_RSS_MB = 235


def test_msclap_runs_from_enrolment_to_an_alert(full_size: FullSize, tmp_path: Path) -> None:
    """A hiss instead of the pump is anomalous, reaches a subscriber, and an LLM words it by each of three methods."""
    origin = full_size.bundle.manifest.origin
    assert origin is not None
    assert origin.weights == "random"
    healthy, clips = tmp_path / "healthy", tmp_path / "clips"
    write_clips(healthy, "healthy", pump(240))
    write_clips(clips, "0_healthy", pump(20, take=1))
    hiss = (
        np.random.default_rng(0).normal(0.0, 0.1, 60 * 16_000).astype(np.float32)
    )  # nothing subtle: the weights are random
    write_clips(clips, "1_faulty", hiss)
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada, LlmServer(says(GOOD)) as llm:
        source = f'{{ kind = "recording", path = "{clips}", pace = "max" }}'
        often = "alarm = { false_alarms_per_day = 10000 }\n"  # with random weights a hiss is no gross fault
        extra = often + explain(tmp_path, llm.base_url, method="combination")
        product = Product(tmp_path, source, mqtt_port=broker.port, bundle=f"{full_size.bundle.folder}/", extra=extra)
        assert product.answer("enroll", str(healthy))["normals"] > 20
        scored = product.answer("score", str(clips / "1_faulty_000.wav"))
        assert scored["anomalous"], scored
        assert product.command("run").returncode == 0
        start = json.loads(scada.wait_for("edge-monitor/v1/plant/edge/pump/alert")[0].payload)
        product.source = IDLE  # five captions take longer than a recording that has ended is waited for
        with product.daemon() as daemon:
            told = explanations(scada, 2, seconds=100)
            assert daemon.stop() == 0
        for method in ("text-decoder", "zero-shot"):
            said = product.answer("explain", start["alarm_id"], "--method", method)
            assert (said["worded"]["method"], said["worded"]["text"]) == (method, GOOD)
    assert (start["event"], start["bundle"]) == ("start", "msclap-2023")
    worded = told[1]
    assert (worded["alarm_id"], worded["method"], worded["text"]) == (start["alarm_id"], "combination", GOOD)
    check_prompts(product, healthy, [request.prompt for request in llm.requests])
    assert worded["caption"].rstrip("…") in llm.requests[0].prompt  # a message is bounded


def check_prompts(product: Product, healthy: Path, asked: list[str]) -> None:
    """Check that what was asked of the normals is what `caption` and `similarity` say of their files."""
    combination, text_decoder, zero_shot = asked
    [(kept,)] = product.rows("SELECT neighbours FROM alarms")
    nearest = [(str(healthy / each["recording"]), each["recording_start_s"]) for each in json.loads(kept)]
    assert len(nearest) == 4
    files = sorted({file for file, _ in nearest})
    captions = by_window(product, "caption", files)
    words = by_window(product, "similarity", files)
    wanted = [redact(captions[place]["caption"]).rstrip(".") for place in nearest]
    assert wanted[0].startswith("Sounds like")
    assert f"are given as: {', '.join(wanted)}. Please describe" in text_decoder
    head, *rows = table(zero_shot)
    assert (len(head), len(rows)) == (9, 4)  # the paper's eight texts, and one given to the build
    for place, row in zip(nearest, rows, strict=True):
        assert [float(cosine) for cosine in row] == pytest.approx(list(words[place]["similarities"].values()), abs=6e-5)
        assert head == list(words[place]["similarities"])
    assert table(combination) == [["caption", *head], *([text, *row] for text, row in zip(wanted, rows, strict=True))]


def by_window(product: Product, verb: str, files: list[str]) -> dict[tuple[str, float], dict[str, Any]]:
    """Return what a command says of each window, by file and position."""
    lines = product.command(verb, *files, "--json").stdout.splitlines()
    return {(each["file"], each["start_s"]): each for each in map(json.loads, lines)}


def table(prompt: str) -> list[list[str]]:
    """Return a prompt's CSV of the normal sounds."""
    text = prompt.rpartition(" are given as ")[2].partition(". A higher value")[0]
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_daemon_with_the_int8_encoder_is_small(
    full_size: FullSize, tmp_path: Path, microphone_server: SoundServer
) -> None:
    """From its start over loading to scoring, daemon and capture process together stay under 235 MB."""
    int8 = tmp_path / "msclap-2023-int8"
    quantize = [sys.executable, "-m", "edge_monitor", "models", "quantize", f"{full_size.bundle.folder}/"]
    subprocess.run([*quantize, "--out", str(int8)], check=True, capture_output=True)
    healthy = write_clips(tmp_path / "healthy", "healthy", pump(120))
    soundfile.write(tmp_path / "played.wav", pump(90, take=1), 16_000)  # loading and checking take their time
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = Product(
            tmp_path,
            '{ kind = "microphone", device = "default" }',
            mqtt_port=broker.port,
            bundle=f"{int8}/",
            environment=microphone_server.environment,
        )
        product.answer("enroll", *map(str, healthy))
        with product.daemon() as daemon:
            player = microphone_server.play(tmp_path / "played.wav")
            scada.wait_for("edge-monitor/v1/plant/edge/pump/score", 3, seconds=80)
            family = [psutil.Process(daemon.process.pid)]
            family += family[0].children(recursive=True)
            peaks_mb = [peak_rss_mb(process.pid) for process in family]
            pss_mb = sum(process.memory_full_info().pss for process in family) / 1e6
            assert daemon.stop() == 0
        player.kill()
        player.wait(20)
    assert len(peaks_mb) == 2, "the daemon and its capture process"
    assert sum(peaks_mb) <= PEAK_RSS_MB, f"peak RSS {peaks_mb} MB; PSS while scoring {pss_mb:.0f} MB"


def peak_rss_mb(pid: int) -> float:
    """Return the most memory that a process has had resident so far, MB (VmHWM in proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024 / 1e6
