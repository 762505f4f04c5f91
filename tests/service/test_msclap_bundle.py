"""The daemon with MS-CLAP in full size; its weights here are random, marked as such in the manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.broker import Broker, Subscriber
from tests.service.product import Product
from tests.service.sounds import pump, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from tests.export.full_size import FullSize


@pytest.mark.torch
@pytest.mark.timeout(900)
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
    words = product.command("similarity", str(clips / "1_faulty_000.wav"), "--json").stdout.splitlines()
    assert len(json.loads(words[0])["similarities"]) == 9  # the paper's eight, and one given to the build
    caption = product.command("caption", str(clips / "1_faulty_000.wav"), "--json").stdout.splitlines()
    assert json.loads(caption[0])["caption"].startswith("Sounds like")
