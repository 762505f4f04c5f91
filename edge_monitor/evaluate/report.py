"""The report of a measurement: a folder with Markdown, HTML and the figures for programs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from edge_monitor.errors import DatasetError, os_errors_as
from edge_monitor.evaluate.account import NOT_STATED
from edge_monitor.evaluate.document import page
from edge_monitor.evaluate.plots import colour, draw_histogram, draw_roc, standalone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_monitor.evaluate.account import Account
    from edge_monitor.evaluate.figures import Row

MARKDOWN, HTML, FIGURES = "report.md", "report.html", "figures.json"
_THRESHOLDS = (
    "Shares of the test clips of the data set's own split. The threshold nearest to (0, 1) on the ROC curve is the "
    "paper's: it is chosen with the labels of these very clips. The one from normals alone is what enrolling the "
    "training clips sets for 0.1 false alarms per day; the less normal sound there is, the higher it must be."
)
_LEGEND = (
    "By the data set's own split. On a curve: ring, the point nearest to (0, 1); square, the threshold from normals "
    "alone. In a histogram: dashed line, the threshold nearest to (0, 1); solid line, the one from normals alone."
)


@dataclass(frozen=True, slots=True)
class _Plots:
    """A machine id's curves, and its scores by each detector."""

    label: str
    facts: str
    svg: dict[str, tuple[str, str]]  # file beside report.md -> caption, drawing


def make_folder(out: Path) -> None:
    """Make the report's folder, before hours of hearing.

    Raises DatasetError when it cannot be written, or holds a report already: that is not overwritten.
    """
    with os_errors_as(DatasetError, "cannot be written", where=out):
        out.mkdir(parents=True, exist_ok=True)
        if {MARKDOWN, HTML, FIGURES} & {path.name for path in out.iterdir()}:
            raise DatasetError("holds a report already", where=str(out), hint="name another folder, or delete it")
        if not os.access(out, os.W_OK | os.X_OK):
            raise DatasetError("cannot be written", where=str(out), hint="name another folder")


def write_report(account: Account, out: Path) -> None:
    """Write the report into the folder `out`, each file whole or not at all. Raises DatasetError as `make_folder`."""
    drawings = {file: standalone(svg) for each in _plots(account) for file, (_, svg) in each.svg.items()}
    write_files(out, for_programs(account), {**drawings, MARKDOWN: markdown(account), HTML: html(account)})


def write_files(out: Path, figures: dict[str, object], texts: Mapping[str, str]) -> None:
    """Write figures and texts, by name, into the folder `out`. Raises DatasetError as `make_folder`."""
    make_folder(out)
    with os_errors_as(DatasetError, "cannot be written", where=out):
        for name, text in {FIGURES: json.dumps(figures, indent=1) + "\n", **texts}.items():
            path = out / name
            path.parent.mkdir(exist_ok=True)
            new = path.with_name(f".{path.name}.new")
            new.unlink(missing_ok=True)  # left by a crash, or a link to elsewhere
            with new.open("x", encoding="utf-8", errors="backslashreplace") as file:  # folders' names may be any bytes
                file.write(text)
            new.replace(path)


def for_programs(account: Account) -> dict[str, object]:
    """Return the figures as they are printed with `--json`; AUC and pAUC in percent."""
    figures = account.figures
    means = {detector: mean for detector in figures.detectors if (mean := figures.mean(detector))}
    between = {detector: figures.interval(detector) for detector in means}
    return {
        "rows": [_row(row, spread=figures.resplits is not None) for row in figures.rows],
        "mean_auc": {detector: round(mean.auc, 4) for detector, mean in means.items()},
        "mean_pauc": {detector: round(mean.pauc, 4) for detector, mean in means.items()},
        "mean_auc_interval": {name: [round(end, 4) for end in found] for name, found in between.items() if found},
        "differences": [
            {
                "bundle": one.detector,
                "reference": one.reference,
                "auc": round(one.auc, 4),
                **ends("low", "high", one.interval),
            }
            for one in figures.differences()
        ],
        "resplit": figures.resplits,
        "snr_db": sorted({snr_db for each in account.snr_db.values() for snr_db in each}),
        "not_comparable_with_paper": list(account.incomparable()),
        "not_available": list(account.not_yet),
        "left_out": list(account.left_out),
    }


def _row(row: Row, *, spread: bool) -> dict[str, object]:
    facts: dict[str, object] = {
        "machine": row.machine,
        "id": row.machine_id,
        "bundle": row.detector,
        "auc": round(row.auc, 4),
        "pauc": round(row.pauc, 4),
        "n_normal": row.n_normal,
        "n_anomaly": row.n_anomaly,
        "n_train": row.n_train,
    }
    if spread:
        facts |= ends("auc_low", "auc_high", row.auc_spread)
        facts |= ends("auc_mean_low", "auc_mean_high", row.auc_interval)
    return facts


def ends(low: str, high: str, between: tuple[float, float] | None) -> dict[str, float | None]:
    """Return an interval under two names; null where there is none."""
    return dict.fromkeys((low, high)) if between is None else {low: round(between[0], 4), high: round(between[1], 4)}


def summary(account: Account) -> str:
    """Return the tables and what must be known beside them, as Markdown; a terminal shows them as well."""
    notes = "\n".join(f"- {note}" for note in account.notes())
    return f"{notes}\n\n{account.main().markdown()}\n\n{account.overview().markdown()}\n"


def markdown(account: Account) -> str:
    """Return report.md; the drawings it shows are files beside it."""
    left_out = "".join(f"- {line}\n" for line in account.left_out)
    return (
        f"# {account.dataset}\n\n{summary(account)}\n## Thresholds\n\n{_THRESHOLDS}\n\n"
        f"{account.thresholds().markdown()}\n\n## ROC curves and scores\n\n{_LEGEND}\n"
        + "".join(map(_markdown_plots, _plots(account)))
        + (f"\n## Left out\n\n{left_out}" if left_out else "")
    )


def html(account: Account) -> str:
    """Return report.html: one file that fetches nothing and runs nothing."""
    return report_page(
        f"{account.dataset}: detection",
        account.dataset,
        account.notes(),
        f"{account.main().html()}\n{account.overview().html()}\n<h2>Thresholds</h2>\n<p>{escape(_THRESHOLDS)}</p>\n"
        f"{account.thresholds().html()}\n<h2>ROC curves and scores</h2>\n<p>{escape(_LEGEND)}</p>\n"
        + "".join(map(_html_plots, _plots(account))),
        account.left_out,
    )


def report_page(title: str, heading: str, notes: Iterable[str], body: str, left_out: Sequence[str]) -> str:
    """Return a report as one HTML file; `body` is HTML, all else is text."""
    lines = "".join(f"<li>{escape(line)}</li>" for line in left_out)
    return page(
        "report",
        title,
        {},
        heading=escape(heading),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        body=body,
        left_out=f"<h2>Left out</h2><ul>{lines}</ul>" if lines else "",
    )


def _plots(account: Account) -> Iterator[_Plots]:
    """Yield each machine id's drawings."""
    figures = account.figures
    stroke = {detector: colour(position) for position, detector in enumerate(figures.detectors)}
    ids = dict.fromkeys((row.machine, row.machine_id) for row in figures.rows)
    for number, (machine, machine_id) in enumerate(ids, start=1):
        rows = figures.of_id(machine, machine_id)
        curves = {row.detector: row.curve for row in rows if row.curve}
        if not curves:
            continue
        label = f"{machine} {machine_id}"
        coloured = {name: (stroke[name], curve) for name, curve in curves.items()}
        svg = {f"roc-{number:02}.svg": (", ".join(curves), draw_roc(label, coloured))}
        for position, (name, curve) in enumerate(curves.items(), start=1):
            svg[f"scores-{number:02}-{position}.svg"] = name, draw_histogram(f"{label}, {name}", curve)
        train, snr = next(iter(curves.values())).n_train, account.snr(rows[0])
        unit = "" if snr == NOT_STATED else " dB"
        yield _Plots(label, f"{train} training clips, SNR {snr}{unit}", svg)


def _html_plots(each: _Plots) -> str:
    figures = "".join(
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" for caption, svg in each.svg.values()
    )
    return f"<h3>{escape(each.label)}</h3><p>{escape(each.facts)}</p><section>{figures}</section>\n"


def _markdown_plots(each: _Plots) -> str:
    pictures = " ".join(f"![{caption}]({file})" for file, (caption, _) in each.svg.items())
    return f"\n### {each.label}\n\n{each.facts}\n\n{pictures}\n"
