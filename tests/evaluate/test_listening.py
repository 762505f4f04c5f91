"""The command makes a sheet of a small data set with real models, and counts what raters send back."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from tests.encode import talking
from tests.enrolled import IDLE
from tests.evaluate.sets import write
from tests.llm_server import LlmServer, refuses, says
from tests.product import Product
from tests.sounds import pump

if TYPE_CHECKING:
    from pathlib import Path

CLIP = 160_000  # samples, 10 s at 16 kHz
LLM = """
[explain]
llm = "openai"
base_url = "{url}"
model = "played"
requests_per_day = {per_day}
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a DCASE 2020 set of one pump: eight clips to learn, two normal and three anomalous ones to test."""
    folder = tmp_path_factory.mktemp("set")
    healthy = pump(100)
    for number in range(8):
        write(folder / f"pump/train/normal_id_00_{number:08d}.wav", healthy[number * CLIP : (number + 1) * CLIP])
    for number in range(8, 10):
        write(folder / f"pump/test/normal_id_00_{number:08d}.wav", healthy[number * CLIP : (number + 1) * CLIP])
    for number in range(3):
        write(folder / f"pump/test/anomaly_id_00_{number:08d}.wav", pump(10, take=number + 1, fault="bearing"))
    return folder


def evaluate(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `edge-monitor evaluate captions …`."""
    argv = [sys.executable, "-m", "edge_monitor", "evaluate", "captions", *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, env=os.environ, capture_output=True, text=True, check=False, timeout=100)


def configure(folder: Path, url: str, per_day: int = 100) -> Path:
    """Write a configuration whose LLM is at `url`."""
    return Product(folder, IDLE, tables=LLM.format(url=url, per_day=per_day)).config


def key_of(out: Path) -> dict[str, Any]:
    """Return a sheet's key."""
    return dict(json.loads((out.parent / f"{out.name}-key.json").read_text()))


def fill(out: Path, name: str, ratings: dict[str, int]) -> Path:
    """Answer a whole sheet as the form would; `ratings` are by method."""
    path = out.parent / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["rater", "item", "slot", "rating"])
        for item in key_of(out)["items"]:
            for slot in item["slots"]:
                writer.writerow([name, item["item"], slot["slot"], ratings[slot["method"]]])
    return path


def test_a_sheet_without_network_and_its_tally(dataset: Path, tmp_path: Path) -> None:
    """The embedded bundle gives the measured captions of the three anomalies; the others are named as missing."""
    out = tmp_path / "sheet"
    done = evaluate(dataset, "--out", out, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not on the sheet: zero-shot: the bundle spectral has no text-similarity" in done.stderr
    made = json.loads(done.stdout)
    assert (made["items"], made["captions"], sorted(made["missing"])) == (
        3,
        3,
        ["combination", "measured-worded", "text-decoder", "zero-shot"],
    )
    key = key_of(out)
    assert [item["anomalous"] for item in key["items"]] == [True, True, True]
    scores = [item["score"] for item in key["items"]]
    assert scores == sorted(scores, reverse=True)
    for item in key["items"]:
        assert {normal["clip"][:25] for normal in item["normals"]} == {"pump/train/normal_id_00_0"}
        assert "mpulses at " in item["slots"][0]["text"]
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        *(f"audio/00{item}-{place}.flac" for item in (1, 2, 3) for place in range(5)),
        "index.html",
        *(f"pictures/00{item}-{place}.png" for item in (1, 2, 3) for place in (1, 2, 3, 4)),
    ]
    assert made["key"] == f"{out}-key.json"
    folder = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"anomaly_id" not in folder
    assert b"normal_id" not in folder
    first, rate_hz = soundfile.read(out / "audio/001-0.flac")
    original, _ = soundfile.read(dataset / key["items"][0]["clip"])
    assert (rate_hz, first.tolist()) == (16_000, original.tolist())

    again = evaluate(dataset, "--out", out, cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith(
        f"edge-monitor: {out}/index.html: belongs to a listening sheet already (name another folder, or delete"
    )

    sheets = [fill(out, "ann", {"measured": 4}), fill(out, "bob", {"measured": 2}), tmp_path / "none.csv"]
    counted = evaluate("--tally", *sheets, "--out", out, "--json", cwd=tmp_path)
    assert counted.returncode == 0
    assert counted.stderr == f"edge-monitor: {tmp_path}/none.csv: left out: cannot be read: No such file or directory\n"
    figures = json.loads(counted.stdout)
    assert figures["methods"] == [
        {
            "method": "measured",
            "ids": 1,
            "ids_above_3": 0,
            "mos": 3.0,
            "low": 2.0,
            "high": 4.0,
            "ratings": 6,
            "raters": 2,
            "items": 3,
        },
    ]
    shown = evaluate("--tally", sheets[0], "--out", out, cwd=tmp_path)
    assert "measured: 4.00  4.00 to 4.00  (3 ratings, 1 rater)\n  above 3: 1 of 1 ids\n" in shown.stdout


def test_a_bundle_that_talks_gives_the_papers_three_methods(dataset: Path, tmp_path: Path) -> None:
    """Each is asked for with its own prompt; windows too short to measure leave the measured ones out."""
    bundle = talking.write(tmp_path / "models" / "talking")
    out = tmp_path / "sheet"
    with LlmServer(says("This sound is fuller.")) as llm:
        config = configure(tmp_path, llm.base_url)
        done = evaluate(dataset, "--out", out, "--bundle", f"{bundle}/", "--config", config, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"{out}/index.html: 3 items with 9 captions to rate\n"
        f"{out}-key.json: whose caption is whose; no rater may see it\n"
    )
    assert "pump id_00: not measured: 1.5 s of sound are too short to measure (2 s at least)" in done.stderr
    prompts = [request.prompt for request in llm.requests]
    assert [prompt.split("\n")[1][:40] for prompt in prompts] == [
        "The caption of the anomalous sound of pu",
        "The acoustic features of the anomalous s",
        "The caption and the acoustic features of",
    ] * 3
    key = key_of(out)
    assert sorted(slot["method"] for slot in key["items"][0]["slots"]) == ["combination", "text-decoder", "zero-shot"]
    assert key["missing"] == {
        "measured": "the sound could not be measured",
        "measured-worded": "the sound could not be measured",
    }
    assert key["made_with"]["model"] == "played"


def test_the_budget_ends_the_asking_and_the_sheet_is_made_of_what_there_is(dataset: Path, tmp_path: Path) -> None:
    """Two requests are allowed: two items have the worded caption, the third has a line that says why not."""
    with LlmServer(says("This sound is fuller.")) as llm:
        config = configure(tmp_path, llm.base_url, per_day=2)
        done = evaluate(dataset, "--out", "sheet", "--config", config, cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "sheet/index.html: 3 items with 5 captions to rate"
    assert len(llm.requests) == 2
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: pump id_00, item 3: measured-worded: not asked: 2 requests are spent "
        "([explain] requests_per_day allows no more)"
    )


def test_an_llm_that_refuses_leaves_the_measured_captions(dataset: Path, tmp_path: Path) -> None:
    """A wrong key costs a line to each item, not the sheet."""
    with LlmServer(refuses(401)) as llm:
        config = configure(tmp_path, llm.base_url)
        done = evaluate(dataset, "--out", "sheet", "--config", config, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "sheet/index.html: 3 items with 3 captions to rate")
    missing = key_of(tmp_path / "sheet")["missing"]
    assert "401" in missing["measured-worded"]


def test_wrong_input_is_one_line(dataset: Path, tmp_path: Path) -> None:
    """Damaged clips are passed over; without enough to learn there is no sheet, and no key that claims one."""
    for number in range(3):
        write(tmp_path / f"set/pump/train/normal_id_00_{number:08d}.wav", pump(10, take=number))
    (tmp_path / "set/pump/train/normal_id_00_00000009.wav").write_bytes(b"RIFFnothing of use")
    done = evaluate("set", "--out", "sheet", cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("edge-monitor")]
    damaged = tmp_path / "set/pump/train/normal_id_00_00000009.wav"
    assert lines[-3:] == [
        f"edge-monitor: left out: {damaged}: not a sound file that can be read (use WAV or FLAC)",
        "edge-monitor: pump id_00: left out: 3 normal windows to learn, needs 5",
        "edge-monitor: set: no machine gives anything to rate",
    ]
    assert not (tmp_path / "sheet-key.json").exists()
    done = evaluate(dataset, "--out", "sheet", "--machine", "fan", cwd=tmp_path)
    assert done.stderr == f"edge-monitor: {dataset}: no machine is named 'fan' (it has pump)\n"
    done = evaluate("--tally", "x.csv", "--out", "sheet", cwd=tmp_path)
    assert done.stderr == (
        "edge-monitor: sheet-key.json: no such key"
        " (--out names the folder of the sheet that was rated; its key lies beside it)\n"
    )
