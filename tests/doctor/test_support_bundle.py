"""`edge-monitor support-bundle`: enough to help from afar, and no secret in it."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

from tests.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product

CANARIES = ("canary password-1", 'canary"quoted\\ü-2', "canary-file-3", "canary-key-4", "canary-env-5", "canary-path-6")


def contents(file: Path) -> dict[str, str]:
    """Return a bundle's files by name."""
    with tarfile.open(file) as tar:
        return {name.rpartition("/")[2]: (tar.extractfile(name) or tar).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]  # all are files


def guarded(product: Product, folder: Path, password: str) -> Product:
    """Give a product secrets wherever it can have some."""
    (folder / "credentials").mkdir()
    (folder / "credentials" / "edge-monitor_mqtt").write_text("canary-file-3\n")
    (folder / "llm-key").write_text("canary-key-4\n")
    product.mqtt_port = free_port()
    product.mqtt = f"username = \"edge\"\npassword = '{password}'\n"
    product.tables = (
        '[explain]\nllm = "openai"\napi_key_file = "llm-key"\n'
        f'base_url = "http://127.0.0.1:{free_port()}/canary-path-6/v1?key=canary-path-6"\n'
    )
    product.environment = {
        "CREDENTIALS_DIRECTORY": str(folder / "credentials"),
        "MY_API_KEY": "canary-env-5",
        "HTTPS_PROXY": "http://user:canary-env-5@127.0.0.1:9",
    }
    return product


def test_no_secret_is_in_the_bundle_and_a_helper_finds_what_counts(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """Secrets in settings, files, credentials and environment; the daemon runs, and the broker is away."""
    product = guarded(enrolled(), tmp_path, 'canary"quoted\\ü-2')
    file = tmp_path / "bundle.tar.gz"
    evidence = product.state / "evidence"
    evidence.mkdir(exist_ok=True)
    (evidence / "alarm.png").write_bytes(b"picture")
    with product.daemon():
        done = product.command("support-bundle", "--out", str(file))
    assert done.returncode == 0, done.stderr
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    found = contents(file)
    assert set(found) == {
        "about.json",
        "config.json",
        "doctor.json",
        "log.txt",
        "status.json",
        "database.json",
        "files.json",
    }
    for name, text in found.items():
        for canary in CANARIES:
            assert canary not in text, name
            assert json.dumps(canary)[1:-1] not in text, name
        assert name in done.stdout
    assert json.loads(found["config.json"])["explain"]["api_key_file"].endswith("/llm-key")
    assert json.loads(found["status.json"])["running"] is True
    assert [each["number"] for each in json.loads(found["database.json"])["generations"]] == [1]
    assert {"name": "evidence/alarm.png", "bytes": 7} in [
        {key: each[key] for key in ("name", "bytes")} for each in json.loads(found["files.json"])
    ]
    assert "picture" not in "".join(found.values())
    assert {"check": "broker", "result": "fail"} in [
        {key: each[key] for key in ("check", "result")} for each in json.loads(found["doctor.json"])
    ]


def test_a_broken_configuration_tells_its_mistakes_and_no_secret(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """A helper is needed most when nothing works."""
    product = guarded(enrolled(extra="nonsense ="), tmp_path, "canary password-1")
    file = tmp_path / "bundle.tar.gz"
    done = product.command("support-bundle", "--out", str(file))
    assert done.returncode == 0, done.stderr
    found = contents(file)
    assert "password-1" not in "".join(found.values())
    assert "not TOML" in json.loads(found["config.json"])["mistakes"][0]
    assert not [canary for canary in CANARIES if canary in "".join(found.values())]


def test_a_dry_run_lists_and_writes_nothing(enrolled: Callable[..., Product], tmp_path: Path) -> None:
    """And a file that is there is never overwritten."""
    product, file = enrolled(), tmp_path / "bundle.tar.gz"
    done = product.command("support-bundle", "--out", str(file), "--dry-run")
    assert "doctor.json" in done.stdout
    assert not file.exists()
    file.write_text("mine")
    done = product.command("support-bundle", "--out", str(file))
    assert (done.returncode, file.read_text()) == (1, "mine")
    assert "exists already" in done.stderr
