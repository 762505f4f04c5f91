"""`edge-monitor backup` and `restore`: what was learnt, whole or not at all, while the node runs."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import tarfile
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.service.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = (
    "SELECT name, sha256, hex(vector), start_s FROM normals JOIN recordings ON recordings.id = recording_id"
    " ORDER BY normals.id"
)


@pytest.fixture
def saved(enrolled: Callable[..., Product], tmp_path: Path) -> tuple[Product, Path]:
    """Return an enrolled product and its backup, made while no daemon runs."""
    product, file = enrolled(), tmp_path / "node.backup"
    answer = product.answer("backup", str(file))
    assert answer["machines"]["pump"]["active"] == 1
    return product, file


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


def test_a_running_node_is_backed_up_and_another_one_knows_the_machine(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """Backed up and restored through both daemons: the same normals, in use without a restart, nothing left behind."""
    product, file = enrolled(), tmp_path / "node.backup"
    with product.daemon():
        product.answer("backup", str(file))
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    (tmp_path / "other").mkdir()
    other = Product(tmp_path / "other", product.source)
    with other.daemon():
        answer = other.answer("restore", str(file))
        [state] = other.answer("status")["machines"]
    assert [(each["machine"], each["generation"]) for each in answer["machines"]] == [("pump", 1)]
    assert state["generation"] == 1
    assert other.rows(CONTENT) == product.rows(CONTENT)
    assert other.intact()
    assert not [*other.state.glob("restore-*"), *product.state.glob("backup-*")]


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


def test_what_is_known_already_is_replaced_by_force_alone(saved: tuple[Product, Path]) -> None:
    """Neither a restore nor a dry run changes it; --force does, and generation numbers go on."""
    product, file = saved
    before = product.rows(CONTENT)
    assert "has 60 normals already (--force replaces them" in refusal(product, str(file))
    planned = product.answer("restore", str(file), "--dry-run")
    assert planned["needs_force"] is True
    assert "only with --force" in product.command("restore", str(file), "--dry-run").stdout
    [would] = planned["machines"]
    assert (would["normals"], would["replaces"], would["generation"]) == (60, 60, None)
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection:
        connection.execute("DELETE FROM normals WHERE id % 2")
        connection.commit()
    [done] = product.answer("restore", str(file), "--force")["machines"]
    assert (done["replaces"], done["generation"]) == (30, 2)
    assert product.rows(CONTENT) == before
    assert product.intact()


def test_a_damaged_foreign_or_newer_backup_is_refused_in_one_line(saved: tuple[Product, Path], tmp_path: Path) -> None:
    """Whatever it is, the node keeps what it knows."""
    product, file = saved
    before, bad = product.rows(CONTENT), tmp_path / "bad"
    content = file.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    assert "not a whole backup" in refusal(product, str(bad), "--force")
    bad.write_bytes(content.replace(b"SQLite format 3", b"SQLite format 4"))
    assert "memory.db is damaged: wrong SHA-256" in refusal(product, str(bad), "--force")
    bad.write_bytes(b"RIFF" * 1000)
    assert "not a whole backup" in refusal(product, str(bad), "--force")
    assert "no such file" in refusal(product, str(tmp_path / "nothing"))

    def newer(parts: dict[str, bytes]) -> None:
        parts["backup.json"] = json.dumps({**json.loads(parts["backup.json"]), "format": 2}).encode()

    def newer_memory(parts: dict[str, bytes]) -> None:
        parts["memory.db"] = edited(parts["memory.db"], tmp_path, "PRAGMA user_version=99")

    def outside(parts: dict[str, bytes]) -> None:
        parts["audio/../../evil.flac"] = b"x"

    def trigger(parts: dict[str, bytes]) -> None:
        spy = "CREATE TRIGGER t AFTER INSERT ON normals BEGIN DELETE FROM recordings; END"
        parts["memory.db"] = edited(parts["memory.db"], tmp_path, spy)

    def other_bundle(parts: dict[str, bytes]) -> None:
        parts["memory.db"] = edited(parts["memory.db"], tmp_path, "UPDATE generations SET bundle_hash = 'ff'")

    def short_vectors(parts: dict[str, bytes]) -> None:
        parts["memory.db"] = edited(parts["memory.db"], tmp_path, "UPDATE normals SET vector = x'00000000'")

    for change, words in (
        (newer, "upgrade edge-monitor"),
        (newer_memory, "written by a newer edge-monitor"),
        (outside, "does not belong into one"),
        (trigger, "its tables are others"),
        (other_bundle, "enrolled with a bundle that is in none of the models folders"),
        (short_vectors, "backup"),
    ):
        assert words in refusal(product, str(altered(file, bad, change)), "--force"), words
    assert product.rows(CONTENT) == before
    assert not list(product.state.glob("restore-*"))


def edited(database: bytes, folder: Path, statement: str) -> bytes:
    """Return a SQLite file after a statement."""
    path = folder / "edited.db"
    path.write_bytes(database)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    return path.read_bytes()


def test_a_restore_that_is_killed_leaves_the_old_or_the_new_state(saved: tuple[Product, Path]) -> None:
    """SIGKILL at ten moments of its run: never a part of either."""
    product, file = saved
    path = product.state / "edge-monitor.db"
    new = product.rows(CONTENT)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE recordings SET name = 'old ' || name")
        connection.commit()
    old = product.rows(CONTENT)
    argv = product.argv("restore", str(file), "--force")
    began_s = time.monotonic()
    subprocess.run(product.argv("restore", str(file), "--dry-run"), check=True, capture_output=True)
    whole_s = 1.3 * (time.monotonic() - began_s)
    for moment in range(10):
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(whole_s * (0.5 + 0.05 * moment))
            process.kill()
        assert product.rows(CONTENT) in (old, new)
    subprocess.run(argv, check=True, capture_output=True)
    assert product.rows(CONTENT) == new
    assert product.intact()
    assert not list(product.state.glob("restore-*"))
