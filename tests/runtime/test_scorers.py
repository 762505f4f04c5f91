"""A scorer of the user's choice, from the configuration to the alert; and a choice that is made later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.broker import Broker, Subscriber
from tests.node.test_bundles import drop_in
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_chosen_scorer_enrols_scores_and_alarms(tmp_path: Path, healthy_clips: Path) -> None:
    """`[model] scorer = "mahalanobis"`: threshold, `score`, `generations`, the alert and its neighbours."""
    clips = tmp_path / "clips"
    write_clips(clips, "0_healthy", pump(60, take=1))
    write_clips(clips, "1_faulty", pump(40, take=2, fault="bearing", fault_db=12.0))
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = Product(
            tmp_path,
            f'{{ kind = "recording", path = "{clips}", pace = "max" }}',
            mqtt_port=broker.port,
            model='scorer = "mahalanobis"',
        )
        enrolled = product.answer("enroll", str(healthy_clips))
        assert (enrolled["scorer"], enrolled["metric"]) == ("mahalanobis", "standardized-euclidean")
        [faulty] = [path for path in clips.iterdir() if path.name.startswith("1_faulty")][:1]
        scored = product.answer("score", str(faulty))
        assert (scored["scorer"], scored["anomalous"], len(scored["neighbours"])) == ("mahalanobis", True, 4)
        assert product.command("run").returncode == 0
        start = json.loads(scada.wait_for("edge-monitor/v1/plant/edge/pump/alert")[0].payload)
    assert start["event"] == "start"
    assert start["score"] > start["threshold"] == pytest.approx(enrolled["threshold"])
    assert start["window_end_s"] > 60.0


def test_a_scorer_changed_later_leaves_the_generation_its_own(enrolled: Callable[..., Product]) -> None:
    """It goes on with the one its threshold belongs to, and every command says how to go over; `build` does."""
    product = enrolled()
    product.model = 'scorer = "local-density"'
    said = (
        "pump: scored with sub-band-density, as its generation was built; the configuration now says local-density:"
        " `edge-monitor generations build --machine pump` goes over to it"
    )
    with product.daemon():
        assert product.answer("status")["machines"][0]["scorer"] == "sub-band-density"
        assert said in product.command("status").stdout.splitlines()
        assert said in product.command("generations list", "--machine", "pump").stdout.splitlines()
        built = product.answer("generations build", "--machine", "pump")
        assert (built["generation"], built["scorer"], built["active"]) == (2, "local-density", True)
        assert product.answer("status")["machines"][0]["scorer"] == "local-density"
        assert "scored with" not in product.command("status").stdout
    assert "memory.scorer_not_used" in (product.folder / "daemon.log").read_text()


def test_sub_bands_of_a_bundle_that_has_none_are_refused(tmp_path: Path, healthy_clips: Path) -> None:
    """Where a bundle says nothing of bands: one line, before anything is encoded."""
    product = Product(tmp_path, '{ kind = "simulator" }', model='scorer = "sub-band"')
    drop_in(product)
    done = product.command("enroll", str(healthy_clips))
    assert done.returncode == 1
    assert done.stderr == (
        "edge-monitor: model.scorer: sub-band scorers need to know which dimensions belong to which frequencies"
        " (they work with bundles whose manifest names its bands; choose another scorer)\n"
    )
    assert not (product.state / "edge-monitor.db").exists()
