"""`evaluate DATASET` as a user meets it: figures for programs, and nothing lost on the way."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edge_monitor.cli.evaluate import command
from tests.cli.evaluating import argv, environment, evaluate, make
from tests.encode.foreign import ForeignBundle
from tests.enrolled import IDLE
from tests.evaluate.sets import noise, write
from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path


def configure(folder: Path, bundle: Path | str = "spectral") -> None:
    """Write an `edge-monitor.toml` whose bundle is scored by sub-bands."""
    _ = Product(folder, IDLE, bundle=str(bundle), model='scorer = "sub-band"').config


def test_json_has_the_fields_that_programs_read(dataset: Path, tmp_path: Path) -> None:
    """AUC in percent, one row for each machine id and bundle; nothing else stands on stdout."""
    done = evaluate(dataset, "--bundle", "spectral", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["rows"] == [
        {
            "machine": "pump",
            "id": "id_00",
            "bundle": "spectral",
            "auc": 100.0,
            "pauc": 100.0,
            "n_normal": 3,
            "n_anomaly": 3,
            "n_train": 6,
        },
    ]
    assert figures["mean_auc"] == {"spectral": 100.0}
    assert figures["not_available"] == ["PANNs", "LAION-CLAP"]
    assert figures["not_comparable_with_paper"][1] == "Pump has 12 clips, there 4205"
    assert re.fullmatch(r"pump: spectral: 12 clips in \d+ s, 0 of them from the cache\n", done.stderr)


def test_the_configurations_scorer_is_for_its_own_bundle_alone(dataset: Path, tmp_path: Path) -> None:
    """Another bundle keeps its own; a bundle that cannot use the scorer of the configuration is named."""
    foreign = ForeignBundle(tmp_path / "foreign").write()
    configure(tmp_path)
    bundles = ("--config", "edge-monitor.toml", "--bundle", "spectral", "--bundle", "./foreign")
    done = evaluate(dataset, *bundles, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stdout.splitlines() if ", scorer " in line]
    assert [re.sub(r"^- (\w+):.*, scorer ", r"\1 ", note) for note in notes] == [
        "spectral sub-band.",
        "foreign euclidean-unit.",
    ]
    configure(tmp_path, foreign)
    done = evaluate(dataset, "--config", "edge-monitor.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("edge-monitor: model.scorer, bundle foreign: sub-band scorers need to know ")


def test_a_clip_too_short_to_enrol_is_left_out(dataset: Path, tmp_path: Path) -> None:
    """Repeated to a window's length it would say more of the repetition than of the machine."""
    folder = shutil.copytree(dataset, tmp_path / "set")
    short = write(folder / "pump/train/normal_id_00_00000000.wav", noise(0, 1.9))
    done = evaluate(folder, "--json", cwd=tmp_path)
    figures = json.loads(done.stdout)
    assert figures["left_out"] == [f"left out: {short}: 1.9 s of sound are too short to judge (2 s at least)"]
    assert figures["rows"][0]["n_train"] == 5


def test_resplits_give_means_and_intervals(dataset: Path, tmp_path: Path) -> None:
    """Nine normal clips, five learnt each time."""
    done = evaluate(dataset, "--json", "--resplit", "10", "--scorer", "mahalanobis", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert [row["bundle"] for row in figures["rows"]] == ["spectral", "spectral+mahalanobis"]
    for row in figures["rows"]:
        assert (row["n_train"], row["n_normal"], row["n_anomaly"]) == (5, 4, 3)
        assert (
            0 <= row["auc_low"] <= row["auc_mean_low"] <= row["auc"] <= row["auc_mean_high"] <= row["auc_high"] <= 100
        )
    assert figures["resplit"] == 10
    assert set(figures["mean_auc_interval"]) == {"spectral", "spectral+mahalanobis"}
    assert [(one["bundle"], one["reference"]) for one in figures["differences"]] == [
        ("spectral+mahalanobis", "spectral")
    ]


def kept(cache: Path) -> int:
    """Return how many clips the cache holds."""
    return len(list(cache.rglob("*.npz")))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_was_heard_before_an_end_is_not_heard_again(tmp_path: Path, how: signal.Signals) -> None:
    """Killed or interrupted in the middle; the same command goes on from there, to the same figures."""
    dataset, cache = make(tmp_path / "set", train=60), tmp_path / "cache"
    with subprocess.Popen(
        argv(dataset, "--jobs", "1"), cwd=tmp_path, env=environment(cache), stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while kept(cache) < 5:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(how)
        _, errors = process.communicate(timeout=30)
    there = kept(cache)
    assert 5 <= there < 66
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert errors.strip() == "stopped; what was heard is kept, and the same command goes on from there"
    resumed = evaluate(dataset, "--json", cwd=tmp_path, cache=cache)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{there} of them from the cache" in resumed.stderr.splitlines()[-1]
    if how == signal.SIGKILL:
        fresh = evaluate(dataset, "--json", cwd=tmp_path, cache=tmp_path / "other")
        assert json.loads(resumed.stdout) == json.loads(fresh.stdout)


def test_what_is_wrong_with_a_set_is_told_and_the_rest_is_measured(tmp_path: Path) -> None:
    """A damaged file, a copy, a machine id without anomalies: a line each, and in the figures too."""
    dataset = make(tmp_path / "set")
    (dataset / "pump/train/normal_id_00_00000000.wav").write_bytes(b"RIFF")
    write(dataset / "pump/test/normal_id_00_00000099.wav", noise(1, 2.0))
    make(tmp_path / "set", machine="fan")
    for path in dataset.glob("fan/test/anomaly*"):
        path.unlink()
    for number, path in enumerate(dataset.glob("fan/*/*")):
        write(path, noise(800 + number, 2.0))
    done = evaluate(dataset, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert [(row["machine"], row["n_train"]) for row in figures["rows"]] == [("pump", 5)]
    left_out = figures["left_out"]
    assert left_out[:2] == [
        "pump/test/normal_id_00_00000099.wav: left out: the same sound as pump/train/normal_id_00_00000001.wav",
        "fan id_00: no anomalous test clips",
    ]
    assert len(left_out) == 3
    assert left_out[2].startswith(f"left out: {dataset}/pump/train/normal_id_00_00000000.wav: ")
    assert [line for line in done.stderr.splitlines() if line.startswith("edge-monitor: ")] == [
        f"edge-monitor: {line}" for line in left_out
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere"], 1, "edge-monitor: nowhere: no such folder"),
        (["."], 1, "edge-monitor: .: no sound files"),
        (["SET", "--bundle", "none"], 1, "edge-monitor: no bundle named 'none'"),
        (["SET", "--bundle", "panns"], 1, "edge-monitor: panns: not available yet"),
        (["SET", "--bundle", "autoencoder"], 1, "edge-monitor: the autoencoder is no bundle (--baseline autoencoder)"),
        (["SET", "--scorer", "none"], 1, "edge-monitor: no scorer is named 'none'"),
        (["SET", "--machine", "fan"], 1, "no machine is named 'fan'"),
        (["SET", "--resplit", "0"], 2, "Invalid value for '--resplit'"),
        (["SET", "--config", "none.toml"], 2, "edge-monitor: none.toml: no such file"),
        ([], 2, "Usage: edge-monitor evaluate DATASET [OPTIONS]"),
    ],
)
def test_a_mistake_is_one_line(dataset: Path, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """With the exit code of its kind, and before any clip is heard."""
    done = evaluate(*(dataset if argument == "SET" else argument for argument in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache").exists()


def test_help_shows_the_options_and_the_subcommands(tmp_path: Path) -> None:
    """`evaluate` alone is `evaluate detection`; `captions` stands beside it."""
    shown = evaluate("--help", cwd=tmp_path).stdout
    assert shown.startswith("Usage: edge-monitor evaluate DATASET [OPTIONS]\n")
    for word in ("--bundle NAME", "--resplit N", "--out DIRECTORY", "captions", "detection"):
        assert word in shown
    assert "--tally" in evaluate("captions", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("edge-monitor evaluate cap", {"plain,captions"}),
        ("edge-monitor evaluate --res", {"plain,--resplit"}),
        ("edge-monitor evaluate some/folder --bun", {"plain,--bundle"}),
        ("edge-monitor evaluate captions --tal", {"plain,--tally"}),
        ("edge-monitor evaluate set --baseline a", {"plain,autoencoder"}),
    ],
)
def test_the_shell_completes_both_ways_to_call_it(tmp_path: Path, words: str, offered: set[str]) -> None:
    """Options of the default, with or without a folder before them, and subcommands."""
    variables = {"_EDGE_MONITOR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv[0] = 'edge-monitor'; from edge_monitor.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert offered <= set(done.stdout.split("\n"))


def test_both_subcommands_are_there() -> None:
    """And no other."""
    assert sorted(command.commands) == ["captions", "detection"]
