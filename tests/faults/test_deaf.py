"""What would make a monitor deaf is told, and never looks like health."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import uvicorn

from edge_monitor.config.file import load_settings
from edge_monitor.runtime.daemon import Daemon
from edge_monitor.runtime.systemd import Notifier
from edge_monitor.store.store import Store
from tests.broker import wait_until
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HEALTHY = '{ kind = "simulator", machine = "pump", take = 1, pace = 20 }'


def test_a_damaged_generation_is_told_and_can_be_made_anew(enrolled_state: Path, tmp_path: Path) -> None:
    """The daemon runs, says so in the machine's state, `doctor` fails; learning more ends it."""
    shutil.copytree(enrolled_state, tmp_path / "state")
    product = Product(tmp_path, HEALTHY)
    with closing(Store(product.state / "edge-monitor.db")) as store:
        store.open()
        store.commit(lambda connection: connection.execute("UPDATE generations SET threshold = 1e300"))
    with product.daemon() as daemon:
        wait_until(lambda: product.status()["machines"][0]["state"] == "not-enrolled", 30.0, "the state")
        assert product.status()["machines"][0]["text"].startswith("generation 1 is damaged: its threshold is 1e+300")
        doctor = product.command("doctor")
        assert doctor.returncode == 1
        assert "generation 1 is damaged" in doctor.stdout
        write_clips(tmp_path / "more", "more", pump(30.0, take=3), 16_000)
        built = product.command("enroll", str(tmp_path / "more"))  # which builds one, of the old normals and the new
        assert built.returncode == 0, built.stderr
        wait_until(lambda: product.status()["machines"][0]["state"] == "normal", 30.0, "the state")
        assert daemon.stop() == 0


def test_a_daemon_whose_api_has_died_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With exit code 1, for whoever restarts it: nobody could ask it anything, and `status` would call it gone."""

    def die(_config: uvicorn.Config) -> uvicorn.Server:
        raise MemoryError

    monkeypatch.setattr(uvicorn, "Server", die)
    daemon = Daemon(load_settings(Product(tmp_path, HEALTHY).config), Notifier())
    assert daemon.run() == 1
    assert "'api'" in capfd.readouterr().out
