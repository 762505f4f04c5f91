"""Commands while the daemon runs: through its control socket, as root and as a member of its group."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_monitor.api.daemon_client import DaemonClient
from edge_monitor.errors import ControlError
from edge_monitor.memory import changes
from edge_monitor.memory.normals import Normals
from edge_monitor.node.operation import Nothing
from edge_monitor.node.operations import STATUS
from edge_monitor.store.database import FILE_NAME
from edge_monitor.store.store import Store
from tests.broker import wait_until
from tests.product import Product
from tests.reachable import program
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., Product]

FAILING = '{ kind = "simulator", machine = "pump", take = 1, fault = "bearing", fault_at_s = 20, pace = 40 }'
SPECTRAL = Path(__file__).parents[2] / "models/spectral"
DAEMON, MEMBER, STRANGER = 64_001, 64_002, 64_003  # user ids that nobody has; the daemon's group has its number


def test_a_daemon_that_goes_away_before_it_is_asked_is_told_in_one_line(tmp_path: Path) -> None:
    """Whoever asks while it takes up a new configuration reads that it is lost, and no traceback."""
    with socket.socket(socket.AF_UNIX) as daemon, closing(DaemonClient(tmp_path / "sock")) as asker:
        daemon.bind(str(tmp_path / "sock"))
        daemon.listen()

        def let_go() -> None:
            for _ in range(20):
                daemon.accept()[0].close()

        threading.Thread(target=let_go, daemon=True).start()
        with pytest.raises(ControlError, match="lost the daemon"):
            asker.call(STATUS, Nothing())


def test_a_false_alarm_becomes_normal_and_back(enrolled: Make) -> None:
    """A rejected alarm's sound ends it by being normal; taking the rejection back makes it anomalous again."""
    product = enrolled(FAILING)
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarm_windows WHERE number >= 7"), 60.0, "its windows")
        [alarm] = product.answer("alarms list")
        assert alarm["active"]
        rejected = product.answer("alarms reject", alarm["alarm_id"][:8], "--add-normal")
        assert rejected["normals"] >= 8
        assert rejected["generation"] == 2
        assert rejected["threshold_before"] == alarm["threshold"]
        wait_until(
            lambda: product.rows("SELECT 1 FROM alarms WHERE ended_ms IS NOT NULL"), 30.0, "the end of the alarm"
        )
        assert product.answer("status")["machines"][0]["generation"] == 2
        undone = product.answer("alarms reject", alarm["alarm_id"], "--undo")
        assert undone["generation"] == 3
        wait_until(lambda: product.rows("SELECT count(*) FROM alarms") == [(2,)], 30.0, "the next alarm")
        assert daemon.stop() == 0
    assert [row["reason"].split()[0] for row in product.answer("generations list")] == ["enroll", "reject", "undo"]
    second = product.answer("alarms list")[0]["alarm_id"]
    would_be = product.answer("alarms reject", second, "--add-normal", "--dry-run")
    assert would_be["generation"] is None
    assert would_be["threshold"] == product.answer("alarms reject", second, "--add-normal")["threshold"]


def test_enrolling_live_while_the_daemon_runs(tmp_path: Path) -> None:
    """A daemon that knows nothing learns from its own stream and scores with it at once."""
    product = Product(tmp_path, '{ kind = "simulator", machine = "pump", pace = 60 }')
    with product.daemon() as daemon:
        wait_until(lambda: product.status()["machines"][0]["state"] == "not-enrolled", 20.0, "not-enrolled")
        built = product.answer("enroll", "--live", "6")
        assert built["generation"] == 1
        assert built["normals"] >= 20
        wait_until(lambda: product.status()["machines"][0]["state"] == "normal", 20.0, "normal")
        assert daemon.stop() == 0


def test_a_generation_can_be_gone_back_to(enrolled: Make) -> None:
    """Removing normals builds a generation; going back to the one before needs no enrolment."""
    product = enrolled()
    with product.daemon() as daemon:
        assert product.answer("normals remove", "healthy_000.wav", "--dry-run")["generation"] is None
        assert product.answer("normals remove", "healthy_000.wav")["generation"] == 2
        gone_back = product.answer("generations activate", "1")
        assert (gone_back["normals"], gone_back["in_use"], gone_back["as_in_use"]) == (60, 59, False)
        assert "It has 60 normals, 59 are in use" in product.command("generations activate", "1").stdout
        assert product.answer("status")["machines"][0]["generation"] == 1
        assert product.answer("normals restore", "healthy_000.wav")["generation"] == 3
        assert daemon.stop() == 0


def test_a_change_that_was_cut_off_before_its_generation_is_completed_by_the_same_command(enrolled: Make) -> None:
    """The normals had been marked, and the active generation did not know."""
    product = enrolled()
    path = product.state / FILE_NAME
    with Store(path) as store:
        changes.remove_recording(store, "pump", "healthy_000.wav")
    assert product.answer("normals remove", "healthy_000.wav")["generation"] == 2
    assert product.answer("normals remove", "healthy_000.wav")["generation"] is None
    with Store(path) as store, store.reading() as connection:
        removed = [each.id for each in Normals(connection, "pump").normals(removed=True) if each.removed_ms is not None]
    with Store(path) as store:
        changes.restore(store, "pump", removed)
    assert product.answer("normals restore", "healthy_000.wav")["generation"] == 3
    assert product.answer("normals restore", "healthy_000.wav")["generation"] is None


def test_a_fault_that_is_learnt_is_noticed(enrolled: Make, tmp_path: Path) -> None:
    """New normals that the generation before would have called anomalous are asked about, with the way back."""
    product = enrolled()
    write_clips(tmp_path / "new", "new", pump(60, take=2, fault="rattle", fault_db=12.0))
    done = product.command("enroll", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Caution: 6 of 6 new windows lie above the threshold before", done.stdout, re.MULTILINE)
    assert "`edge-monitor generations activate 1` goes back." in done.stdout
    write_clips(tmp_path / "healthy", "another", pump(60, take=3))
    assert "Caution" not in product.command("enroll", str(tmp_path / "healthy")).stdout


def test_normals_move_to_another_box(enrolled: Make, tmp_path: Path) -> None:
    """What one node exports another imports, and scores the same sound with the same threshold."""
    exported = tmp_path / "pump.normals"
    first = enrolled()
    assert first.answer("normals export", str(exported))["normals"] == 60
    (tmp_path / "other").mkdir()
    second = Product(tmp_path / "other", first.source)
    imported = second.answer("normals import", str(exported))
    assert imported["normals"] == 60
    assert imported["threshold"] == first.answer("generations list")[0]["threshold"]


def test_an_inhibited_machine_raises_no_alarm(enrolled: Make) -> None:
    """During an inhibition, which survives a restart, a failing machine is `inhibited`; afterwards it alarms."""
    product = enrolled(FAILING)
    product.answer("inhibit", "--minutes", "60")
    with product.daemon() as daemon:
        wait_until(lambda: product.status()["machines"][0]["windows"] > 80, 30.0, "the fault")
        assert product.answer("status")["machines"][0]["state"] == "inhibited"
        assert product.answer("alarms list") == []
        assert daemon.stop() == 0
    assert product.rows("SELECT coalesce(sum(windows), 0) FROM score_minutes") == [(0,)]  # they promise nothing
    product.answer("inhibit", "--resume")
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarms"), 30.0, "the alarm")
        assert daemon.stop() == 0


def test_listening_taps_the_daemon(enrolled: Make) -> None:
    """While the daemon holds the source, `listen` shows what it hears."""
    product = enrolled()
    with product.daemon() as daemon:
        done = product.command("listen", "--machine", "pump", "--seconds", "2", "--json")
        verdict, *readings = [json.loads(line) for line in done.stdout.splitlines()]
        assert "level" in verdict["verdict"]
        assert len(readings) == 4
        assert all(-60.0 < reading["level_dbfs"] < -10.0 for reading in readings)
        assert daemon.stop() == 0


@pytest.fixture
def others_node() -> Iterator[Product]:
    """Return a node whose state belongs to a user of its own, in a folder that everybody may reach."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    folder = Path(tempfile.mkdtemp(prefix="em-users-"))
    folder.chmod(0o755)
    for name, mode in (("state", 0o700), ("runtime", 0o750)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
        os.chown(folder / name, DAEMON, DAEMON)
    product = Product(folder, '{ kind = "simulator", machine = "pump", pace = 60 }')
    config = product.config
    config.write_text(config.read_text().replace('"state"', '"state"\nruntime_dir = "runtime"'))
    yield product
    shutil.rmtree(folder)


def as_user(product: Product, user: int, *arguments: str, group: int | None = None) -> list[str]:
    """Return the command line that runs `edge-monitor` as another user."""
    return becoming(user, *arguments, "--config", str(product.folder / "edge-monitor.toml"), group=group)


def becoming(user: int, *arguments: str, group: int | None = None) -> list[str]:
    """Return the same without a configuration."""
    ids = (user, group or user, *([DAEMON] if user == MEMBER else []))
    return [*program("as_user.py"), *map(str, ids), "--", *arguments]


def ask(product: Product, user: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another user."""
    return subprocess.run(
        as_user(product, user, *arguments), capture_output=True, text=True, check=False, timeout=120, cwd=product.folder
    )


@pytest.mark.parametrize("closed", ["models/spectral-2", "models"])
def test_a_bundle_that_may_not_be_read_is_not_passed_over(others_node: Product, closed: str) -> None:
    """One is told that it cannot be read, not only that it is not there."""
    bundle = shutil.copytree(SPECTRAL, others_node.folder / "state/models/spectral-2")
    for path, old in ((bundle / "manifest.toml", 'name = "spectral"'), (others_node.config, 'bundle = "spectral"')):
        path.write_text(path.read_text("utf-8").replace(old, old.replace("spectral", "spectral-2")), "utf-8")
    for path in (bundle.parent, bundle, *bundle.iterdir()):
        os.chown(path, DAEMON, DAEMON)
    verify = becoming(DAEMON, "models", "verify")

    def verified() -> subprocess.CompletedProcess[str]:
        return subprocess.run(verify, cwd=others_node.folder, capture_output=True, text=True, check=False, timeout=120)

    assert "spectral-2: ok" in verified().stdout
    (others_node.folder / "state" / closed).chmod(0)
    told = ask(others_node, DAEMON, "score", "x.wav").stderr
    if closed == "models":
        assert told.rstrip().endswith(f"a path must contain a slash; {bundle.parent} cannot be read)")
    else:
        assert f"{bundle}/manifest.toml: cannot be read: Permission denied" in told
        assert (verified().returncode, f"spectral-2: {bundle}/manifest.toml: cannot" in verified().stderr) == (1, True)


def test_root_and_members_of_the_group_may_ask(others_node: Product) -> None:
    """While the daemon runs as its own user, root and a member of its group enrol and list; a stranger may not."""
    root, state = 0, others_node.folder / "state"
    daemon = subprocess.Popen(as_user(others_node, DAEMON, "run"), cwd=others_node.folder, stderr=subprocess.DEVNULL)
    try:
        wait_until((others_node.folder / "runtime/control.sock").exists, 20.0, "the control socket")
        for user in (MEMBER, root):
            enrolled = ask(others_node, user, "enroll", "--live", "3", "--json")
            assert enrolled.returncode == 0, enrolled.stderr
            listed = ask(others_node, user, "normals", "list", "--json")
            assert len(json.loads(listed.stdout)) >= 4
        refused = ask(others_node, STRANGER, "alarms", "list")
        assert refused.returncode == 1
        assert "you may not talk to the daemon" in refused.stderr
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0
    alone = ask(others_node, root, "enroll", "--live", "3")
    assert alone.returncode == 0, alone.stderr
    owners = {path.stat().st_uid for path in state.rglob("*")}
    assert owners == {DAEMON}
