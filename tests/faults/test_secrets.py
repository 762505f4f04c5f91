"""Secrets stay secret: canaries, through faults, at level DEBUG, searched for wherever anybody may look."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tarfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.broker import wait_until
from tests.faults.oracle import NODE_PASSWORD, NODE_USER, SCADA_PASSWORD, SCADA_USER
from tests.faults.preload import preloaded
from tests.llm_server import LlmServer, refuses, resets, says
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.oracle import Plant

    MakePlant = Callable[..., Plant]

KEY = "sk-canary-5f1d0c2b9e8a47f6"  # no real key
_EXPLAIN = """
[explain]
llm = "openai"
base_url = "{url}"
timeout_s = 2
deadline_s = 5
{key}
"""


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of a file, of all files below a folder, or of an archive's members."""
    if path.is_dir():
        for each in sorted(path.rglob("*")):
            if each.is_file():
                yield from contents(each)
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                if (file := archive.extractfile(member)) is not None:
                    yield f"{path}:{member.name}", file.read()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            for name in zipped.namelist():
                yield f"{path}:{name}", zipped.read(name)
    else:
        yield str(path), path.read_bytes()


@pytest.mark.parametrize("place", ["file", "config", "credential"])
def test_no_secret_is_ever_shown(plant: MakePlant, tmp_path: Path, place: str) -> None:
    """Password and key appear in no log, payload, command line, status, refusal, doctor, database or support bundle."""
    (tmp_path / "key").write_text(KEY + "\n")
    key = {
        "file": f'api_key_file = "{tmp_path / "key"}"',
        "config": 'api_key_env = "LLM_KEY"',
        "credential": 'api_key_credential = "key"',
    }[place]
    environment = {"LLM_KEY": KEY, "CREDENTIALS_DIRECTORY": str(tmp_path / "broker")}
    disk = tmp_path / "disk"
    prefix = preloaded("failing_disk.c", tmp_path, FAIL_DIR=tmp_path / "state", FAIL_HOW=disk)
    reflecting = refuses(401, message=f"Incorrect API key provided: {KEY}. You sent Bearer {KEY}")
    with LlmServer(reflecting, refuses(500, message=KEY), resets(), says(f"This sound is {KEY}, rougher.")) as llm:
        explain = _EXPLAIN.format(url=llm.base_url, key=key)
        running = plant_with_key(plant, tmp_path, place, tables=explain, environment=environment, prefix=prefix)
        shown: dict[str, bytes] = {}
        running.wait_for_alarms(1)
        running.broker.stop()
        running.broker.start()
        note_command_lines(running, shown)
        running.kill()
        running.start()
        shown["doctor"] = doctor_while_disk_and_broker_refuse(running, disk)
        bad = running.product.config.read_text() + "\n[mqtt.tls]\nca_file = 7\n"
        running.product.config.with_name("bad.toml").write_text(bad.replace("[explain]", "[explain]\nspeling = 1"))
        for verb, config in (("config check", "bad.toml"), ("config check", "edge-monitor.toml"), ("status", None)):
            done = running.product.command(verb, *([] if config is None else ["--config", str(tmp_path / config)]))
            shown[f"{verb} {config}"] = (done.stdout + done.stderr).encode()
        assert running.daemon is not None
        (running.product.folder / "edge-monitor.toml").write_text(bad)
        running.daemon.process.send_signal(signal.SIGHUP)
        time.sleep(1.0)
        running.check()
        wait_until(lambda: len(llm.requests) >= 4, 60.0, "the LLM's four answers")
        note_command_lines(running, shown)
        if find_spec("edge_monitor.cli.support_bundle"):
            bundle = tmp_path / "bundle"
            bundle.mkdir()
            done = running.product.command("support-bundle", "--out", str(bundle / "support.tar.gz"))
            assert done.returncode == 0, done.stderr
            shown.update(contents(bundle))
        running.stop()
        assert {request.headers["authorization"] for request in llm.requests} == {f"Bearer {KEY}"}
    shown["log"] = running.daemon.log.read_bytes()
    shown.update((f"payload {number}", each.payload) for number, each in enumerate(running.scada.messages))
    shown.update(contents(running.product.state))
    for where, content in shown.items():
        for secret in (NODE_PASSWORD, SCADA_PASSWORD, KEY):
            assert secret.encode() not in content, f"a secret is shown: {where}"


def plant_with_key(plant: MakePlant, folder: Path, place: str, **fields: object) -> Plant:
    """Start a plant whose node logs at DEBUG; the LLM's key lies beside the password when systemd passes both."""
    (folder / "broker").mkdir()
    (folder / "broker/key").write_text(KEY + "\n")
    return plant(secure=True, authenticates_by=place, run_options=("--verbose",), **fields)


def doctor_while_disk_and_broker_refuse(running: Plant, disk: Path) -> bytes:
    """Have fsync fail and the broker know another password; return what doctor prints then, and put both right."""
    right, wrong = running.folder / "broker/passwords", running.folder / "broker/others"
    wrong.write_text(f"{NODE_USER}:another\n{SCADA_USER}:{SCADA_PASSWORD}\n")
    subprocess.run(["mosquitto_passwd", "-U", str(wrong)], check=True, capture_output=True)
    disk.write_text("E")
    running.broker.reconfigure(str(right), str(wrong))
    refused = "refused by the broker: Not authorized"
    wait_until(lambda: running.product.status()["mqtt"]["last_error"] == refused, 30.0, refused)
    wait_until(lambda: running.product.status()["health"]["storage_fault"], 30.0, "a storage-fault")
    examined = running.product.command("doctor")
    assert "Not authorized" in examined.stdout, examined.stdout + examined.stderr
    disk.unlink()
    running.broker.reconfigure(str(wrong), str(right))
    wait_until(lambda: not running.product.status()["health"]["storage_fault"], 30.0, "a disk that takes alarms")
    return (examined.stdout + examined.stderr).encode()


def note_command_lines(running: Plant, shown: dict[str, bytes]) -> None:
    """Note what `ps` shows of the daemon and its children."""
    assert running.daemon is not None
    daemon = psutil.Process(running.daemon.process.pid)
    for process in (daemon, *daemon.children(recursive=True)):
        shown[f"command line of {process.pid}"] = " ".join(process.cmdline()).encode()


@pytest.fixture
def wide_open() -> Iterator[None]:
    """Work under umask 000, as a careless script does."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("wide_open")
def test_what_the_node_keeps_is_its_own_under_umask_000(healthy_clips: Path, turns: Path, tmp_path: Path) -> None:
    """Folders are 0700 (the group may pass to the control socket), files 0600, whoever enrols and however it runs."""
    source = f'{{ kind = "recording", path = "{turns}", pace = 20, loop = true }}'
    product = Product(tmp_path, source, extra='evidence = "audio"')
    done = product.command("enroll", "--keep-audio", str(healthy_clips))
    assert done.returncode == 0, done.stderr
    with product.daemon() as daemon:
        wait_until(lambda: list(product.state.glob("evidence/pump/*.flac")), 60.0, "evidence")
        modes = {path.relative_to(product.state): path.lstat() for path in (product.state, *product.state.rglob("*"))}
        assert daemon.stop() == 0
    assert {str(path) for path in modes} >= {"edge-monitor.db", "audio/pump", "evidence/pump", "run/control.sock"}
    allowed = {Path(): 0o710, Path("run"): 0o750, Path("run/control.sock"): 0o660}
    for path, status in modes.items():
        most = allowed.get(path, 0o700 if stat.S_ISDIR(status.st_mode) else 0o600)
        assert stat.S_IMODE(status.st_mode) & ~most == 0, f"{path} is {stat.S_IMODE(status.st_mode):o}"
