"""The daemon with MS-CLAP in full size; its weights here are random, marked as such in the manifest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import soundfile

from tests.broker import Broker, Subscriber
from tests.service.product import Product
from tests.service.sounds import pump, write_clips
from tests.sound_server import SoundServer, microphone_server_fixture

if TYPE_CHECKING:
    from tests.export.full_size import FullSize

__all__ = ["microphone_server_fixture"]

# The first test builds the bundle: minutes on a busy box.
pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]
PEAK_RSS_MB = 220


def test_msclap_runs_from_enrolment_to_an_alert(full_size: FullSize, tmp_path: Path) -> None:
    """Healthy clips are enrolled; a hiss instead of the pump is anomalous, reaches a subscriber, and has words."""
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
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        source = f'{{ kind = "recording", path = "{clips}", pace = "max" }}'
        product = Product(tmp_path, source, mqtt_port=broker.port, bundle=f"{full_size.bundle.folder}/")
        assert product.answer("enroll", str(healthy))["normals"] > 20
        scored = product.answer("score", str(clips / "1_faulty_000.wav"))
        assert scored["anomalous"], scored
        assert product.command("run").returncode == 0
        start = json.loads(scada.wait_for("edge-monitor/v1/plant/edge/pump/alert")[0].payload)
    assert (start["event"], start["bundle"]) == ("start", "msclap-2023")
    one = str(tmp_path / "one_window.wav")
    soundfile.write(one, hiss[: 7 * 16_000], 16_000)
    words = [json.loads(line) for line in product.command("similarity", one, "--json").stdout.splitlines()]
    assert len(words[0]["similarities"]) == 9  # the paper's eight, and one given to the build
    captions = [json.loads(line)["caption"] for line in product.command("caption", one, "--json").stdout.splitlines()]
    assert captions[0].startswith("Sounds like")
    check_explanations(product, one, captions, [each["similarities"] for each in words])


def check_explanations(
    product: Product, faulty: str, captions: list[str], similarities: list[dict[str, float]]
) -> None:
    """Have a sound explained by each of the paper's methods; what it is made of is what the bundle says by itself."""
    told = {
        method: product.answer("explain", faulty, "--method", method, "--dry-run")
        for method in ("text-decoder", "zero-shot", "combination")
    }
    for method in ("text-decoder", "combination"):
        said = told[method]["captions"]
        assert said["anomaly"] in captions
        assert len(said["normals"]) == 4
        for caption in (said["anomaly"], *said["normals"]):
            assert caption.rstrip(".") in told[method]["prompt"]
    for method in ("zero-shot", "combination"):
        own = {text: each["anomaly"] for text, each in told[method]["similarities"].items()}
        assert any(own == pytest.approx(window, abs=1e-6) for window in similarities)
        assert f"{next(iter(own.values())):.4f}" in told[method]["prompt"]


def test_a_daemon_with_the_int8_encoder_is_small(
    full_size: FullSize, tmp_path: Path, microphone_server: SoundServer
) -> None:
    """From its start over loading to scoring, daemon and capture process together stay under 220 MB."""
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
