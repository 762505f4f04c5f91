"""`models pull` over a hub, in a process of its own: nothing half-made is ever where bundles are found."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.export.full_size import REPOSITORY, copy_vocabulary, random_recipe
from tests.export.hub_server import HubServer
from tests.export.test_checkpoint import Canary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.torch


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """Provide a hub whose checkpoints are a megabyte of nothing, and GPT-2's vocabulary."""
    served = tmp_path / "served"
    served.mkdir()
    copy_vocabulary(served)
    for name in ("CLAP_weights_2023.pth", "clapcap_weights_2023.pth"):
        (served / name).write_bytes(bytes(1_000_000))
    recipe = tmp_path / "recipes/msclap-2023"
    recipe.mkdir(parents=True)
    (recipe / "manifest.toml").write_text(random_recipe())
    yield from HubServer(
        {
            f"{repository}/{path.name}": path
            for repository in ("microsoft/msclap", "openai-community/gpt2")
            for path in served.iterdir()
        }
    ).run()


def pulled(hub: HubServer, folder: Path, name: str = "recipes/msclap-2023/") -> tuple[str, int]:
    """Return the last line that `models pull` prints on standard error, and its exit code."""
    command = [sys.executable, "-m", "edge_monitor", "models", "pull", name, "--state-dir", str(folder / "state")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_ENDPOINT": hub.endpoint}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1], done.returncode


def test_what_is_no_checkpoint_is_downloaded_checked_and_refused(hub: HubServer, tmp_path: Path) -> None:
    """The line names the file; downloads are kept for the next call, and no bundle is to be seen."""
    line, code = pulled(hub, tmp_path)
    assert code == 1
    assert line.startswith("edge-monitor: ")
    assert "CLAP_weights_2023.pth: " in line
    assert not (tmp_path / "state/models/msclap-2023").exists()
    asked = [entry.split()[0] for entry in hub.ranges]
    assert asked == ["CLAP_weights_2023.pth", "clapcap_weights_2023.pth", "vocab.json", "merges.txt"]
    pulled(hub, tmp_path)
    assert len(hub.ranges) == 4  # nothing was fetched twice


def test_a_checkpoint_that_carries_code_is_not_opened(hub: HubServer, tmp_path: Path) -> None:
    """Where the hub's own hash is all there is to hold it to, its code does not run, and no bundle is to be seen."""
    canary = tmp_path / "sung"
    hub.files["microsoft/msclap/CLAP_weights_2023.pth"].write_bytes(pickle.dumps({"model": Canary(canary)}))
    line, code = pulled(hub, tmp_path)
    assert code == 1
    assert "CLAP_weights_2023.pth: holds more than weights and was not opened" in line
    assert not canary.exists()
    assert not (tmp_path / "state/models/msclap-2023").exists()


def test_the_published_recipe_refuses_other_weights_before_a_byte(hub: HubServer, tmp_path: Path) -> None:
    """The captioner's size and SHA-256 are in the recipe that is shipped."""
    line, code = pulled(hub, tmp_path, "msclap-2023")
    assert code == 1
    assert "clapcap_weights_2023.pth: the hub offers 1000000 bytes" in line
    assert "expected 1712037386" in line
    assert hub.ranges == []


def test_a_vocabulary_with_one_byte_changed_is_refused(hub: HubServer, tmp_path: Path) -> None:
    """A file that the recipe pins by its hash is not taken from a hub that has another."""
    path = hub.files["openai-community/gpt2/merges.txt"]
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    line, code = pulled(hub, tmp_path)
    assert code == 1
    assert "merges.txt: the hub offers" in line


def test_a_bundle_that_is_there_outlives_a_failed_pull(hub: HubServer, tmp_path: Path) -> None:
    """What was installed stays as it was, to the byte."""
    installed = tmp_path / "state/models/msclap-2023"
    shutil.copytree(REPOSITORY / "models/msclap-2023", installed)  # its recipe: the lightest of its kind
    before = {path.name: path.read_bytes() for path in installed.iterdir()}
    assert pulled(hub, tmp_path)[1] == 1
    assert {path.name: path.read_bytes() for path in installed.iterdir()} == before
