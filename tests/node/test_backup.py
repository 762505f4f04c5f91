"""`edge-monitor backup` of a running node and `restore` of a stopped one: whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from edge_monitor.config.file import load_settings
from edge_monitor.node import backup as operation
from edge_monitor.node.backup_file import audio_name, open_backup
from edge_monitor.node.files import MOST_FILES
from edge_monitor.node.node import Node
from edge_monitor.node.operation import Nothing
from tests.broker import wait_until
from tests.node.backups import CONTENT, unfinished
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALARMING = '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 20, pace = 40 }'


def altered(file: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a backup with other contents and a manifest whose hashes are right."""
    with tarfile.open(file) as tar:
        parts = {name: b"".join(tar.extractfile(name) or ()) for name in tar.getnames()}
    change(parts)
    manifest = json.loads(parts.pop("backup.json"))
    manifest["files"] = {
        name: {"size": len(part), "sha256": hashlib.sha256(part).hexdigest()} for name, part in parts.items()
    }
    with tarfile.open(target, "w") as tar:
        for name, part in {**parts, "backup.json": json.dumps(manifest).encode()}.items():
            header = tarfile.TarInfo(name)
            header.size = len(part)
            tar.addfile(header, io.BytesIO(part))
    return target


def refusal(product: Product, *arguments: str) -> str:
    """Return the one line that a restore is refused with."""
    done = product.command("restore", *arguments)
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_running_node_is_backed_up_and_another_one_goes_on_with_it(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """The whole database: the same normals, alarms and waiting messages; nothing is left of the making."""
    product, file = enrolled(ALARMING, mqtt_port=1), tmp_path / "node.backup"
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarms"), 60.0, "an alarm")
        held = product.answer("backup", str(file))
        assert product.command("restore", str(file)).stderr.endswith(
            "the daemon runs (stop it first: `systemctl stop edge-monitor`)\n"
        )
        assert product.answer("restore", str(file), "--dry-run")["needs_force"] is True
        assert daemon.stop() == 0
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert (held["alarms"] >= 1, held["messages"] >= 1, held["unfit"]) == (True, True, None)
    (tmp_path / "other").mkdir()
    other = Product(tmp_path / "other", product.source, mqtt_port=1)
    answer = other.answer("restore", str(file))
    assert (answer["needs_force"], answer["alarms_restored"], answer["kept_as"]) == (False, held["alarms"], None)
    assert other.rows(CONTENT) == product.rows(CONTENT)
    assert other.rows("SELECT count(*) FROM outbox") == [(held["messages"],)]
    with other.daemon():
        [state] = other.answer("status")["machines"]
        assert state["generation"] == 1
    assert other.intact()
    assert unfinished(other) == unfinished(product) == []


def test_a_box_without_configuration_gets_it_from_the_backup(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """One file and one command replace a box that died."""
    product, file = saved
    (tmp_path / "fresh").mkdir()
    argv = product.argv("restore", str(file))
    argv[argv.index("--config") + 1] = str(tmp_path / "fresh" / "edge-monitor.toml")
    subprocess.run(argv, check=True, capture_output=True)
    assert (tmp_path / "fresh" / "edge-monitor.toml").read_bytes() == product.config.read_bytes()
    assert Product(tmp_path / "fresh", product.source).rows(CONTENT) == product.rows(CONTENT)


def test_kept_sound_is_restored_where_it_was_asked_for(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """With --audio the backup holds every kept recording, byte for byte."""
    product, _ = saved
    folder = product.state / "audio" / "pump"
    folder.mkdir(parents=True)
    sound = bytes(range(256)) * 9000  # more than one part
    (folder / f"{'ab' * 32}.flac").write_bytes(sound)
    file = tmp_path / "with-audio.backup"
    assert product.answer("backup", str(file), "--audio")["sounds"] == 1
    shutil.rmtree(product.state)
    assert product.answer("restore", str(file))["sounds"] == 1
    assert (folder / f"{'ab' * 32}.flac").read_bytes() == sound


def test_a_running_node_hands_over_any_number_of_sounds(enrolled: Callable[..., Product], tmp_path: Path) -> None:
    """Each is let go before the next one is opened."""
    product, file = enrolled(), tmp_path / "node.backup"
    folder = product.state / "audio" / "pump"
    folder.mkdir(parents=True)
    sounds = {f"{number:064x}": bytes([number]) * 1000 for number in range(MOST_FILES + 4)}
    for sha256, content in sounds.items():
        (folder / f"{sha256}.flac").write_bytes(content)
    with product.daemon():
        assert product.answer("backup", str(file), "--audio")["sounds"] == len(sounds)
    with open_backup(file) as backup:
        assert {sha256: b"".join(backup.read(audio_name("pump", sha256))) for _, sha256 in backup.audio} == sounds


@pytest.mark.parametrize("name", ["", "..", "../../edge-monitor", "AB" * 32, "ab" * 32 + "\n"])
def test_a_sound_is_asked_for_by_its_hash_alone(name: str) -> None:
    """No other file of the node can be named."""
    with pytest.raises(ValidationError):
        operation.OpenKeptSound(machine="pump", sha256=name)


def test_what_is_known_already_is_replaced_by_force_alone_and_kept(saved: tuple[Product, Path]) -> None:
    """Neither a restore nor a dry run changes it; --force does, and the old database stays until it is discarded."""
    product, file = saved
    before = product.rows(CONTENT)
    assert "holds 60 normals and 0 alarms already (--force replaces it" in refusal(product, str(file))
    planned = product.answer("restore", str(file), "--dry-run")
    assert planned["needs_force"] is True
    assert "only with --force" in product.command("restore", str(file), "--dry-run").stdout
    [would] = planned["machines"]
    assert (would["restored"]["normals"], would["now"]["normals"]) == (60, 60)
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection:
        connection.execute("DELETE FROM normals WHERE id % 2")
        connection.commit()
    done = product.answer("restore", str(file), "--force")
    [pump] = done["machines"]
    assert (pump["now"]["normals"], pump["restored"]["active"]) == (30, 1)
    assert product.rows(CONTENT) == before
    assert product.intact()
    with closing(sqlite3.connect(product.state / done["kept_as"])) as old:
        assert old.execute("SELECT count(*) FROM normals").fetchall() == [(30,)]
    assert product.answer("restore", "--discard-old") == {"discarded": [done["kept_as"]]}
    assert list(product.state.glob("*.before-restore-*")) == []
    assert "nothing that a restore replaced is left" in product.command("restore", "--discard-old").stdout
    assert product.answer("restore", str(file), "--force", "--discard-old")["discarded"] != []


def test_a_machine_that_the_configuration_does_not_have_is_named(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """What was learnt of it is restored as well, and not used."""
    product, file = saved
    (tmp_path / "other").mkdir()
    other = Product(tmp_path / "other", product.source, machine="fan")
    said = other.command("restore", str(file)).stdout
    assert "pump: 60 normals restored; generation 1 of 1 is active; not in the configuration" in said
    assert "fan: 0 normals restored" in said


def test_a_backup_of_normals_and_generations_alone_is_restored(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """Earlier backups held four tables of the same database, under another name."""
    product, file = saved

    def earlier(parts: dict[str, bytes]) -> None:
        parts["memory.db"] = edited(parts.pop("edge-monitor.db"), tmp_path, "DELETE FROM counters")
        manifest = json.loads(parts["backup.json"])
        del manifest["alarms"], manifest["messages"]
        parts["backup.json"] = json.dumps({**manifest, "format": 1}).encode()

    first = altered(file, tmp_path / "first.backup", earlier)
    before = product.rows(CONTENT)
    shutil.rmtree(product.state)
    product.answer("restore", str(first))
    assert product.rows(CONTENT) == before


def test_what_a_restore_would_refuse_is_said_when_it_is_backed_up(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """The backup is written, for it is better than none, with a warning that names table, machine and row."""
    product, file = enrolled(), tmp_path / "node.backup"
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection:
        connection.execute("UPDATE generations SET threshold = 9e999")
        connection.commit()
    done = product.command("backup", str(file))
    assert done.returncode == 0
    warning = "warning: a restore would refuse this backup: backup: generations, machine pump, number 1: threshold inf"
    assert done.stderr.startswith(warning)
    assert "generations, machine pump, number 1: threshold inf" in refusal(product, str(file), "--force")


def test_a_snapshot_that_nobody_takes_any_more_is_removed(
    enrolled: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked went away while it was made: the first sign of life that cannot be told ends it."""
    product = enrolled()
    monkeypatch.setattr(operation, "_SIGN_OF_LIFE_S", 0.001)
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
        rows = ((str(number), "x" * 10_000) for number in range(10_000))
        connection.executemany("INSERT INTO captions VALUES (?, '', ?)", rows)
    steps = operation.back_up_memory(Node(load_settings(product.config)), Nothing(), lambda: False)
    assert next(steps) == Nothing()
    wait_until(lambda: unfinished(product), 10.0, "a snapshot that is being made")
    steps.close()  # as the steps of a job that nobody asks for are
    assert unfinished(product) == []


def test_nothing_is_backed_up_before_there_is_a_database(tmp_path: Path) -> None:
    """One line says what to do first."""
    product = Product(tmp_path, '{ kind = "simulator" }')
    done = product.command("backup", str(tmp_path / "node.backup"))
    assert (done.returncode, done.stderr.endswith("nothing to back up yet (enrol a machine first)\n")) == (1, True)
    assert not (tmp_path / "node.backup").exists()


def test_a_damaged_database_is_no_obstacle_to_a_restore(saved: tuple[Product, Path]) -> None:
    """It is kept as it is, for whoever wants to look; --force is needed."""
    product, file = saved
    before = product.rows(CONTENT)
    (product.state / "edge-monitor.db").write_bytes(b"damaged!" * 1000)
    assert "cannot be read (--force replaces it" in refusal(product, str(file))
    done = product.answer("restore", str(file), "--force")
    assert (done["readable"], done["carried_over"]) == (False, None)
    assert (product.state / done["kept_as"]).read_bytes() == b"damaged!" * 1000
    assert product.rows(CONTENT) == before


def test_a_damaged_foreign_or_newer_backup_is_refused_in_one_line(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """Whatever it is, the node keeps what it knows."""
    product, file = saved
    before, bad = product.rows(CONTENT), tmp_path / "bad"
    content = file.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    assert "not a whole backup" in refusal(product, str(bad), "--force")
    bad.write_bytes(content.replace(b"SQLite format 3", b"SQLite format 4"))
    assert "edge-monitor.db is damaged: wrong SHA-256" in refusal(product, str(bad), "--force")
    bad.write_bytes(b"RIFF" * 1000)
    assert "not a whole backup" in refusal(product, str(bad), "--force")
    assert "no such file" in refusal(product, str(tmp_path / "nothing"))

    def newer(parts: dict[str, bytes]) -> None:
        parts["backup.json"] = json.dumps({**json.loads(parts["backup.json"]), "format": 3}).encode()

    def large_configuration(parts: dict[str, bytes]) -> None:
        parts["edge-monitor.toml"] += b"#" * (1 << 20)

    def newer_memory(parts: dict[str, bytes]) -> None:
        parts["edge-monitor.db"] = edited(parts["edge-monitor.db"], tmp_path, "PRAGMA user_version=99")

    def outside(parts: dict[str, bytes]) -> None:
        parts["audio/../../evil.flac"] = b"x"

    def trigger(parts: dict[str, bytes]) -> None:
        spy = "CREATE TRIGGER t AFTER INSERT ON normals BEGIN DELETE FROM recordings; END"
        parts["edge-monitor.db"] = edited(parts["edge-monitor.db"], tmp_path, spy)

    def other_bundle(parts: dict[str, bytes]) -> None:
        parts["edge-monitor.db"] = edited(
            parts["edge-monitor.db"], tmp_path, "UPDATE generations SET bundle_hash = 'ff'"
        )

    def short_vectors(parts: dict[str, bytes]) -> None:
        parts["edge-monitor.db"] = edited(
            parts["edge-monitor.db"], tmp_path, "UPDATE normals SET vector = x'00000000' WHERE id = 1"
        )

    for change, words in (
        (newer, "upgrade edge-monitor"),
        (newer_memory, "written by a newer edge-monitor"),
        (large_configuration, "its edge-monitor.toml is none"),
        (outside, "does not belong into one"),
        (trigger, "trigger t does not belong into it"),
        (other_bundle, "must be a normal of the same machine and bundle"),
        (short_vectors, "must be as long as the normals of its bundle"),
    ):
        assert words in refusal(product, str(altered(file, bad, change)), "--force"), words
    assert product.rows(CONTENT) == before
    assert unfinished(product) == []
    assert list(product.state.glob("*.before-restore-*")) == []


def edited(database: bytes, folder: Path, statement: str) -> bytes:
    """Return a SQLite file after a statement."""
    path = folder / "edited.db"
    path.write_bytes(database)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    return path.read_bytes()


def test_a_backup_of_another_bundle_is_refused(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """Vectors of two bundles never mix; the line says how to go on."""
    product, file = saved

    def other_bundle(parts: dict[str, bytes]) -> None:
        for table in ("normals", "generations"):
            statement = f"UPDATE {table} SET bundle_hash = 'ff'"  # noqa: S608 - one of two names
            parts["edge-monitor.db"] = edited(parts["edge-monitor.db"], tmp_path, statement)

    foreign = altered(file, tmp_path / "foreign.backup", other_bundle)
    assert "enrolled with a bundle that is in none of the models folders" in refusal(product, str(foreign), "--force")
