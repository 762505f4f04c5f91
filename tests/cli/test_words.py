"""`caption` and `similarity` try a bundle by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from edge_monitor.cli.caption import command as caption
from edge_monitor.cli.similarity import command as similarity
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.captioner import Captioner
from edge_monitor.encode.encoder import Encoder
from edge_monitor.encode.similarity import TextSimilarity
from edge_monitor.errors import BundleError, ConfigError
from edge_monitor.records import Embedding
from tests.encode import talking

if TYPE_CHECKING:
    from pathlib import Path

    import click

CONFIG = """\
[node]
site = "plant"
name = "edge"
state_dir = "state"
[model]
bundle = "talking"
texts = ["Hissing"]
[[machine]]
name = "pump"
source = { kind = "simulator" }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with a three-second recording, a silent one, and the talking bundle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_MONITOR_CONFIG", raising=False)
    sound = np.random.default_rng(5).normal(0.0, 0.1, 3 * 4000) * np.linspace(0.5, 1.5, 3 * 4000)
    soundfile.write(tmp_path / "hum.wav", sound, 4000, subtype="PCM_16")
    soundfile.write(tmp_path / "silent.wav", np.zeros(6000), 4000, subtype="PCM_16")
    talking.write(tmp_path / "talking")
    return tmp_path


def run(command: click.Command, *arguments: str) -> Result:
    """Run a command in the current folder."""
    return CliRunner().invoke(command, list(arguments))


def first_window(folder: Path) -> Embedding:
    """Return the embedding of the recording's first 1.5 s."""
    encoder = Encoder(open_bundle(folder / "talking"))
    sound = soundfile.read(folder / "hum.wav", dtype="float32")[0]
    return Embedding(encoder.embed(sound[None, :6000])[0], encoder.bundle_hash)


def test_each_window_gets_a_caption(here: Path) -> None:
    """The caption is that of the window's own embedding; `--begin ''` leaves the beginning to the decoder."""
    done = run(caption, "hum.wav", "--bundle", "./talking", "--json")
    assert done.exit_code == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["file"], row["start_s"], row["end_s"]) for row in rows] == [
        ("hum.wav", 0.0, 1.5),
        ("hum.wav", 1.5, 3.0),
    ]
    expected = Captioner(open_bundle(here / "talking")).caption(first_window(here))
    assert (rows[0]["caption"], rows[0]["log_prob"]) == (expected.text, pytest.approx(expected.log_prob, abs=1e-4))
    assert rows[0]["caption"].startswith("Sounds like")
    free = run(caption, "hum.wav", "--bundle", "./talking", "--begin", "").stdout
    assert "Sounds like" not in free
    assert free.startswith("hum.wav, 0 s to 1.5 s: ")


def test_each_window_is_compared_with_the_bundles_texts(here: Path) -> None:
    """Every text with its cosine."""
    done = run(similarity, "hum.wav", "--bundle", "./talking", "--json")
    first = json.loads(done.stdout.splitlines()[0])
    expected = TextSimilarity(open_bundle(here / "talking")).similarities(first_window(here))
    assert list(first["similarities"]) == ["Vibration", "Grinding"]
    assert list(first["similarities"].values()) == pytest.approx(expected, abs=1e-4)


def test_texts_of_ones_own(here: Path) -> None:
    """`--texts` replaces the bundle's; the configuration's are added to them."""
    own = run(similarity, "hum.wav", "--bundle", "./talking", "--texts", "Squeal", "--texts", "Hum, low").stdout
    assert [line.split("  ")[-1] for line in own.splitlines()[:3]] == ["hum.wav, 0 s to 1.5 s", "Squeal", "Hum, low"]
    (here / "edge-monitor.toml").write_text(CONFIG)
    talking.write(here / "state/models/talking")
    configured = json.loads(run(similarity, "hum.wav", "--json").stdout.splitlines()[0])
    assert list(configured["similarities"]) == ["Vibration", "Grinding", "Hissing"]


def test_what_cannot_be_heard_is_told_and_the_rest_goes_on(here: Path) -> None:
    """A silent file and one that is no sound are one line each; the exit code says that something was left out."""
    (here / "note.wav").write_text("no sound")
    done = run(caption, "silent.wav", "note.wav", "hum.wav", "--bundle", "./talking")
    assert done.exit_code == 1
    assert "silent.wav, 0 s to 2 s: left out: " in done.stderr
    assert "note.wav: not a sound file" in done.stderr
    assert done.stdout.count("Sounds like") == 2


def test_without_a_bundle_or_a_configuration_nothing_is_tried() -> None:
    """The missing configuration is named, as everywhere."""
    assert isinstance(run(caption, "hum.wav").exception, ConfigError)


def test_a_bundle_that_cannot_names_one_that_can(here: Path) -> None:
    """The embedded default has no words; the line says which bundle has."""
    (here / "edge-monitor.toml").write_text(CONFIG)
    talking.write(here / "state/models/talking")
    for command, words in ((caption, "does not write captions"), (similarity, "does not compare sound with texts")):
        refused = run(command, "hum.wav", "--bundle", "spectral").exception
        assert isinstance(refused, BundleError)
        assert str(refused) == f"spectral: the bundle {words} (talking does)"
