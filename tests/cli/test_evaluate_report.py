"""`evaluate DATASET` for people: a table, and a report that is whole."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from tests.cli.evaluating import evaluate, make

if TYPE_CHECKING:
    from pathlib import Path


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
