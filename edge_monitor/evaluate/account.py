"""What a measurement says, in tables and sentences: the same on the terminal, in Markdown and in HTML; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.evaluate import table_i
from edge_monitor.evaluate.document import NOTHING, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_monitor.evaluate.figures import AucDifference, Figures, Row
    from edge_monitor.evaluate.roc import OperatingPoint

NOT_YET = "not available yet"
NOT_STATED = "not stated"
NOT_MEASURED = "not measured: --baseline autoencoder (needs torch)"
AUTOENCODER = "autoencoder"  # the detector of the paper's first column


@dataclass(frozen=True, slots=True)
class Account:
    """Figures with what they were measured on."""

    dataset: str  # the folder's name
    figures: Figures
    titles: Mapping[str, str]  # detector -> what it is
    not_yet: tuple[str, ...]  # columns of Table I that no bundle brings
    snr_db: Mapping[tuple[str, str], tuple[float, ...]]  # (machine, id) -> of the machine over the factory's noise
    left_out: tuple[str, ...]  # one line for each thing that could not be measured

    def incomparable(self) -> tuple[str, ...]:
        """Return why the figures are no counterparts of the paper's; empty when they are."""
        figures = self.figures
        held: dict[str, list[str]] = defaultdict(list)  # reason -> detectors
        measured = [detector for detector in figures.detectors if figures.of(detector)]
        for detector in measured:
            for reason in table_i.differences(_clips(figures.of(detector)), own_split=figures.resplits is None):
                held[reason].append(detector)
        split = () if figures.resplits is None else ("random splits that learn 60 % of the normal clips",)
        return split + tuple(
            reason if detectors == measured else f"{', '.join(detectors)}: {reason}"
            for reason, detectors in held.items()
        )

    def notes(self) -> Iterator[str]:
        """Yield what must be known beside the tables, a sentence each."""
        figures = self.figures
        cell = "AUC (pAUC up to a false positive rate of 0.1), percent; 50 is chance"
        if figures.resplits is None:
            yield f"{cell}. By the data set's own split."
        elif figures.resplits == 1:
            yield f"{cell}. Of one random split of the normal clips, 60 % learnt."
        else:
            yield (
                f"{cell}. Mean over {figures.resplits} random splits of the normal clips, 60 % learnt; in brackets "
                "what 95 % of the splits' AUCs lie between."
            )
        yield "Averages: over the ids of a machine, then over the machines, as in the paper's Table I."
        yield from (f"{name}: {title}." for name, title in self.titles.items())
        if not self._beside():
            return
        paper = "Columns with a star: the paper's Table I, all clips of the DCASE 2020 Task 2 development set"
        reasons = self.incomparable()
        yield f"{paper}. Not to be compared with the others: {'; '.join(reasons)}." if reasons else f"{paper}."
        if any(table_i.machine_of(row.machine) == table_i.DERIVED[0] for row in figures.rows):
            yield "The paper's MS-CLAP figure for Fan 00 is derived from the printed average of Fan."

    def main(self) -> Table:
        """Return the table by machine id, with the paper's columns where it has the machine."""
        ids: dict[str, dict[str, None]] = defaultdict(dict)  # machine -> its ids, in order
        for row in self.figures.rows:
            ids[row.machine][row.machine_id] = None
        rows: list[tuple[str, ...]] = []
        for machine, own in ids.items():
            rows += [self._row(machine, machine_id) for machine_id in own]
            rows.append(self._average(machine, table_i.average_of(machine, own)))
        rows.append(self._average(None, table_i.overall_of(ids)))
        paper = [f"{name}*" for name in table_i.COLUMNS]
        head = ("machine id", "SNR dB", "train", "normal", "anomaly", *self.figures.detectors, *paper)
        width = len(head) if self._beside() else len(head) - len(paper)
        return Table(head[:width], tuple(row[:width] for row in rows))

    def overview(self) -> Table:
        """Return a line for each detector: its averages, and how it compares with the first on the same splits."""
        figures = self.figures
        differences = {one.detector: one for one in figures.differences()}
        rows: list[tuple[str, ...]] = []
        for detector in figures.detectors:
            mean, between, other = figures.mean(detector), figures.interval(detector), differences.get(detector)
            auc, pauc, ids = (f"{mean.auc:.2f}", f"{mean.pauc:.2f}", mean.ids) if mean else (NOTHING, NOTHING, 0)
            ends = f"{between[0]:.1f} to {between[1]:.1f}" if between else NOTHING
            rows.append((detector, auc, ends, pauc, str(ids), _difference(other)))
        if AUTOENCODER not in figures.detectors:
            rows.append((AUTOENCODER, NOT_MEASURED, *([NOTHING] * 4)))
        rows += [(name, NOT_YET, *([NOTHING] * 4)) for name in self.not_yet]
        head = ("detector", "AUC", "95 % interval", "pAUC", "ids", f"AUC over {figures.detectors[0]}")
        return Table(head, tuple(rows))

    def thresholds(self) -> Table:
        """Return what two thresholds do to the test clips of the data set's own split."""
        rows: list[tuple[str, ...]] = []
        points: dict[str, list[tuple[OperatingPoint, OperatingPoint | None]]] = defaultdict(list)
        for row in self.figures.rows:
            if row.curve is not None:
                found = (row.curve.best, row.curve.own)
                points[row.detector].append(found)
                cells = [cell for point in found for cell in _rates([point], _threshold(point))]
                rows.append((f"{row.machine} {row.machine_id}", row.detector, *cells))
        for detector, pairs in points.items():
            cells = [cell for column in zip(*pairs, strict=True) for cell in _rates(column, "")]
            rows.append(("all, average", detector, *cells))
        head = ("nearest to (0, 1)", "from normals alone")
        columns = [name for each in head for name in (each, "false alarms", "misses")]
        return Table(("machine id", "detector", *columns), tuple(rows))

    def snr(self, row: Row) -> str:
        """Return a machine id's SNR for a person, dB."""
        found = self.snr_db.get((row.machine, row.machine_id))
        return ", ".join(f"{snr_db:g}" for snr_db in found) if found else NOT_STATED

    def _row(self, machine: str, machine_id: str) -> tuple[str, ...]:
        rows = {row.detector: row for row in self.figures.of_id(machine, machine_id)}
        first = next(iter(rows.values()))
        cells = [_cell(rows.get(detector)) for detector in self.figures.detectors]
        counts = (str(first.n_train), str(first.n_normal), str(first.n_anomaly))
        paper = _paper(table_i.figures_of(machine, machine_id))
        if (table_i.machine_of(machine), machine_id.removeprefix("id_")) == table_i.DERIVED[:2]:
            paper[table_i.COLUMNS.index(table_i.DERIVED[2])] += " (derived)"
        return (f"{machine} {machine_id}", self.snr(first), *counts, *cells, *paper)

    def _average(self, machine: str | None, paper: table_i.Figures | None) -> tuple[str, ...]:
        """Return the row of the means over a machine's ids, or over all."""
        found = [self.figures.mean(detector, machine) for detector in self.figures.detectors]
        means = [f"{mean.auc:.2f} ({mean.pauc:.2f})" if mean else NOTHING for mean in found]
        return (f"{machine or 'all'}, average", "", "", "", "", *means, *_paper(paper))

    def _beside(self) -> bool:
        """Return whether the paper has any of the machine ids."""
        return any(table_i.figures_of(row.machine, row.machine_id) for row in self.figures.rows)


def _paper(figures: table_i.Figures | None) -> list[str]:
    return [NOTHING] * len(table_i.COLUMNS) if figures is None else [f"{figure:.2f}" for figure in figures]


def _clips(rows: Iterable[Row]) -> dict[str, tuple[int, int]]:
    """Return the numbers of training and of test clips by machine, all ids together."""
    clips: dict[str, tuple[int, int]] = {}
    for row in rows:
        train, test = clips.get(row.machine, (0, 0))
        clips[row.machine] = (train + row.n_train, test + row.n_normal + row.n_anomaly)
    return clips


def _cell(row: Row | None) -> str:
    if row is None:
        return NOTHING
    text = f"{row.auc:.2f} ({row.pauc:.2f})"
    between = row.auc_spread
    return text if between is None else f"{text} [{between[0]:.1f}, {between[1]:.1f}]"


def _difference(found: AucDifference | None) -> str:
    if found is None:
        return NOTHING
    between = "" if found.interval is None else ", {:+.1f} to {:+.1f}".format(*found.interval)
    return f"{found.auc:+.2f}{between}"


def _threshold(point: OperatingPoint | None) -> str:
    return NOTHING if point is None else f"{point.threshold:.4g}"


def _rates(points: Sequence[OperatingPoint | None], threshold: str) -> tuple[str, ...]:
    """Return the cells of what a threshold does, the mean over those ids that have one; blanks where none has."""
    there = [point for point in points if point is not None]
    if not there:
        return (NOTHING,) * 3
    rates = np.mean([(point.false_alarm, point.miss) for point in there], axis=0)
    return threshold, *(f"{rate:.1%}" for rate in rates)
