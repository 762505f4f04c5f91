"""`evaluate DATASET` as a user meets it: figures for people and programs, a report, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_monitor.cli.evaluate import command
from tests.encode.foreign import ForeignBundle
from tests.enrolled import IDLE
from tests.evaluate.sets import noise, write
from tests.product import Product

REPOSITORY = Path(__file__).parent.parent.parent


def argv(*arguments: str | Path) -> list[str]:
    """Return a command line of `edge-monitor evaluate`."""
    return [sys.executable, "-m", "edge_monitor", "evaluate", *map(str, arguments)]


def environment(cache: Path) -> dict[str, str]:
    """Return the variables of a user whose cache lies in `cache`."""
    mine = {key: value for key, value in os.environ.items() if key != "EDGE_MONITOR_CONFIG"}
    return {**mine, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(cache)}


def evaluate(*arguments: str | Path, cwd: Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `edge-monitor evaluate …`, by default with a cache in `cwd`."""
    variables = environment(cache or cwd / "cache")
    return subprocess.run(
        argv(*arguments), cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=100
    )


def configure(folder: Path, bundle: Path | str = "spectral") -> None:
    """Write an `edge-monitor.toml` whose bundle is scored by sub-bands."""
    _ = Product(folder, IDLE, bundle=str(bundle), model='scorer = "sub-band"').config


def make(folder: Path, *, train: int = 6, machine: str = "pump") -> Path:
    """Write a DCASE 2020 set of one machine id: normal clips to learn, three to test, three louder ones."""
    for number in range(train):
        write(folder / f"{machine}/train/normal_id_00_{number:08d}.wav", noise(number, 2.0))
    for number in range(3):
        write(folder / f"{machine}/test/normal_id_00_{train + number:08d}.wav", noise(500 + number, 2.0))
        write(folder / f"{machine}/test/anomaly_id_00_{number:08d}.wav", 3.0 * noise(600 + number, 2.0))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a set of one pump."""
    return make(tmp_path_factory.mktemp("set"))


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


def test_people_get_a_table_that_says_what_it_is_beside_the_papers(dataset: Path, tmp_path: Path) -> None:
    """Twelve clips are not the development set; the bundles nobody has made are named."""
    done = evaluate(dataset, "--bundle", "spectral", "--bundle", "panns", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (row,) = (line for line in lines if line.startswith("| pump id_00"))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "pump id_00",
        "not stated",
        "6",
        "3",
        "3",
        "100.00 (100.00)",
        "67.15",
        "81.92",
        "87.40",
        "84.22",
    ]
    assert "Not to be compared with the others: without ToyCar, ToyConveyor, Fan, Slider, Valve" in done.stdout
    (panns,) = (line for line in lines if line.startswith("| PANNs"))
    assert "not available yet" in panns


def test_the_snr_of_an_index_stands_in_every_report(dataset: Path, tmp_path: Path) -> None:
    """Two clips of the machine id at -6 dB, one at 0 dB, nothing said of the others."""
    folder = shutil.copytree(dataset, tmp_path / "set")
    rows = [f"pump/train/normal_id_00_0000000{number}.wav\t{snr_db}" for number, snr_db in enumerate((-6, -6, 0))]
    (folder / "index.tsv").write_text("\n".join(["file\tsnr_db", *rows]))
    done = evaluate(folder, "--json", "--out", "out", cwd=tmp_path)
    assert json.loads(done.stdout)["snr_db"] == [-6.0, 0.0]
    assert re.search(r"^\| pump id_00 +\| +-6, 0 \|", (tmp_path / "out/report.md").read_text(), re.MULTILINE)
    assert "6 training clips, SNR -6, 0 dB" in (tmp_path / "out/report.html").read_text()


class References(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note every element that could bring something in."""
        self.tags.add(tag)
        self.found += [
            f"{tag} {name}={value}" for name, value in attrs if name in {"src", "href", "xlink:href", "data"}
        ]
        if tag in {"script", "link", "img", "iframe", "object", "embed"}:
            self.found.append(tag)


def test_the_report_is_whole_and_fetches_nothing(dataset: Path, tmp_path: Path) -> None:
    """One HTML file with curves and histograms, the same in Markdown with files of them, and figures for programs."""
    out = tmp_path / "report"
    done = evaluate(dataset, "--out", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "figures.json",
        "report.html",
        "report.md",
        "roc-01.svg",
        "scores-01-1.svg",
    ]
    page = (out / "report.html").read_text()
    references = References()
    references.feed(page)
    assert references.found == []
    assert {"svg", "polyline", "table"} <= references.tags
    assert not re.search(r"https?://|url\(|@import", page)
    assert page.count("<polyline") == 1
    assert "<title>Scores of pump id_00, spectral</title>" in page
    text = (out / "report.md").read_text()
    (row,) = (line for line in text.splitlines() if line.startswith("| pump id_00 ") and "%" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert (cells[1], cells[3:5]) == ("spectral", ["0.0%", "0.0%"])
    assert "![spectral](roc-01.svg) ![spectral](scores-01-1.svg)" in text
    for name in ("roc-01.svg", "scores-01-1.svg"):
        drawing = (out / name).read_text()
        assert drawing.startswith('<svg xmlns="http://www.w3.org/2000/svg" ')
        assert drawing.endswith("</svg>\n")
    assert json.loads((out / "figures.json").read_text())["mean_auc"] == {"spectral": 100.0}

    again = evaluate(dataset, "--out", out, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        1,
        f"edge-monitor: {out}: holds a report already (name another folder, or delete it)\n",
    )
    assert (out / "report.html").read_text() == page


def test_a_report_that_cannot_be_written_is_told_before_any_clip_is_heard(dataset: Path, tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "out").write_text("in the way")
    done = evaluate(dataset, "--out", tmp_path / "out/report", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"edge-monitor: {tmp_path}/out/report: cannot be written: ")
    assert not (tmp_path / "cache").exists()


def test_a_report_is_not_written_through_a_link(dataset: Path, tmp_path: Path) -> None:
    """In a folder that others may write to, they may have laid one."""
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out/.report.md.new").symlink_to(tmp_path / "precious")
    assert evaluate(dataset, "--out", tmp_path / "out", cwd=tmp_path).returncode == 0
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "out/report.md").is_file()


def test_names_of_folders_and_files_stay_text_in_the_report(tmp_path: Path) -> None:
    """A data set comes from elsewhere: its machine's name is not a tag."""
    make(tmp_path / "set", machine="<b>|pump")
    done = evaluate(tmp_path / "set", "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "<b>" not in (tmp_path / "out/report.html").read_text()
    assert "| <b>\\|pump id_00" in (tmp_path / "out/report.md").read_text()


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
