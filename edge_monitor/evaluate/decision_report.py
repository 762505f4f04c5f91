"""What a measurement of decisions says: tables, the report's files, figures for programs, and the challenge's files."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.counting import counted
from edge_monitor.evaluate.document import NOTHING, Table
from edge_monitor.evaluate.plots import Line, colour, draw_lines, standalone
from edge_monitor.evaluate.report import HTML, MARKDOWN, ends, report_page, write_files
from edge_monitor.evaluate.rules import CHALLENGE
from edge_monitor.evaluate.streams import LENGTHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from edge_monitor.evaluate.decision_figures import (
        Condition,
        DecisionFigures,
        DecisionMean,
        DecisionRow,
        OwnSplit,
        Share,
    )

_RECALL = "recall.svg"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What may become of streams of a kind, and its share of a mean."""

    title: str  # in tables
    key: str  # for programs
    of: Callable[[DecisionMean], Share]
    always: bool = True  # a column even when no rule finds it


_HEALTHY_ALARM = _Outcome("healthy: alarm", "healthy_alarm", lambda mean: mean.healthy_alarm)
_FAULTY_ALARM = _Outcome("faulty: alarm", "faulty_alarm", lambda mean: mean.faulty_alarm)
_OUTCOMES = (
    _HEALTHY_ALARM,
    _Outcome("healthy: changed", "healthy_changed", lambda mean: mean.healthy_changed, always=False),
    _FAULTY_ALARM,
    _Outcome("faulty: changed", "faulty_changed", lambda mean: mean.faulty_changed, always=False),
)


@dataclass(frozen=True, slots=True)
class DecisionAccount:
    """Figures of decisions with what they were measured on."""

    dataset: str  # the folder's name
    figures: DecisionFigures
    titles: Mapping[str, str]  # detector -> what it is
    left_out: tuple[str, ...]  # one line for each thing that could not be measured

    def notes(self) -> Iterator[str]:
        """Yield what must be known beside the tables, a sentence each."""
        yield (
            "Streams with an alarm, percent; in brackets the 95 % interval over ids and splits. A stream is an id's "
            f"clips in random order. {self.figures.splits} random splits of the normal clips: 60 % to learn from, the "
            "others for healthy streams."
        )
        yield (
            f"Streams of {LENGTHS['memory']} of the product's rule, and of {LENGTHS['passes']} over the clips. A few "
            "clips come again and again: nothing follows about false alarms per day."
        )
        if len({mean.ids for mean in self.figures.means}) > 1:
            yield "Not all ids hold the longer durations: figures of fewer ids are of other machines."
        yield (
            f"{CHALLENGE}: each window by itself, above the 0.9 quantile of a gamma fit of normal windows' scores. The "
            "challenge's files judge whole clips, by a fit of normal clips' mean scores."
        )
        yield from (f"{name}: {title}." for name, title in self.titles.items())

    def overview(self) -> Table:
        """Return a line for each condition."""
        means = self.figures.means
        shown = [each for each in _OUTCOMES if each.always or any(each.of(mean).percent for mean in means)]
        columns = [each.title for each in shown]
        head = ("bundle", "rule", "wanted per day", "stream", "learnt s", "ids", "AUC", *columns, "windows until")
        return Table(head, tuple(_cells(mean, shown) for mean in means))

    def by_id(self) -> Table:
        """Return a line for each machine id under each of the product's own conditions."""
        head = ("machine id", "bundle", "wanted per day", "learnt s", "AUC", "healthy: alarm", "faulty: alarm", "until")
        rows = [row for row in self.figures.rows if self.figures.is_own(row.condition)]
        return Table(head, tuple(_id_cells(row) for row in rows))

    def recall(self) -> str:
        """Return an `<svg>`: the share of streams with an alarm against the sound that was learnt."""
        found: dict[tuple[str, str, float | None], list[DecisionMean]] = {}
        for mean in self.figures.means:
            if mean.condition.length == "memory":
                key = mean.condition.detector, mean.condition.rule, mean.condition.per_day
                found.setdefault(key, []).append(mean)
        most = max(mean.ids for means in found.values() for mean in means)
        lines = [
            Line(
                f"{detector}, {rule}{_at(per_day)}: {kind}",
                colour(number),
                dashed=outcome is _HEALTHY_ALARM,
                points=tuple((mean.learnt_s / 60, outcome.of(mean).percent) for mean in means),
                marks=tuple("" if mean.ids == most else counted(mean.ids, "id") for mean in means),
            )
            for number, ((detector, rule, per_day), means) in enumerate(found.items())
            for kind, outcome in (("faulty", _FAULTY_ALARM), ("healthy", _HEALTHY_ALARM))
        ]
        return draw_lines("Recall against normal sound learnt", "minutes learnt", "streams with an alarm, %", lines)


def _at(per_day: float | None) -> str:
    return "" if per_day is None else f" at {per_day:g} a day"


def _cells(mean: DecisionMean, outcomes: Iterable[_Outcome]) -> tuple[str, ...]:
    condition = mean.condition
    return (
        condition.detector,
        condition.rule,
        NOTHING if condition.per_day is None else f"{condition.per_day:g}",
        LENGTHS[condition.length],
        f"{mean.learnt_s:.0f}",
        str(mean.ids),
        f"{mean.auc.percent:.1f}",
        *(_share(each.of(mean)) for each in outcomes),
        NOTHING if mean.delay_windows is None else f"{mean.delay_windows:g}",
    )


def _id_cells(row: DecisionRow) -> tuple[str, ...]:
    healthy, faulty = (
        f"{sum(each.alarm for each in kind)} of {sum(each.streams for each in kind)}"
        for kind in (row.healthy, row.faulty)
    )
    return (
        f"{row.machine} {row.machine_id}",
        row.condition.detector,
        f"{row.condition.per_day:g}",
        f"{row.learnt_s:.0f}",
        f"{row.aucs.mean():.1f}",
        healthy,
        faulty,
        NOTHING if row.delay_windows is None else f"{row.delay_windows:g}",
    )


def _share(share: Share) -> str:
    between = "" if share.interval is None else " [{:.1f}, {:.1f}]".format(*share.interval)
    return f"{share.percent:.1f}{between}"


def summary(account: DecisionAccount) -> str:
    """Return the tables and what must be known beside them, as Markdown; a terminal shows them as well."""
    notes = "\n".join(f"- {note}" for note in account.notes())
    return f"{notes}\n\n{account.overview().markdown()}\n\n{account.by_id().markdown()}\n"


def for_programs(account: DecisionAccount) -> dict[str, object]:
    """Return the figures as they are printed with `--json`.

    `rows` are the product's rule on streams of twice its memory, `beside` all others. `means` has each condition;
    `mean` is that of `rows` with the most ids, then the most sound learnt.
    """
    figures = account.figures
    means = figures.means
    own = [mean for mean in means if figures.is_own(mean.condition)]
    first = [mean for mean in own if mean.condition.detector == own[0].condition.detector]
    headline = max(first, key=lambda mean: (mean.ids, mean.learnt_s))
    return {
        "rows": [_row(row) for row in figures.rows if figures.is_own(row.condition)],
        "mean": _mean(headline),
        "beside": [_row(row) for row in figures.rows if not figures.is_own(row.condition)],
        "means": [_mean(mean) for mean in means],
        "splits": figures.splits,
        "left_out": list(account.left_out),
    }


def _condition(condition: Condition) -> dict[str, object]:
    return {
        "bundle": condition.detector,
        "rule": condition.rule,
        "false_alarms_per_day": condition.per_day,
        "stream": condition.length,
        "learn_s": condition.learn_s,
    }


def _row(row: DecisionRow) -> dict[str, object]:
    return {
        "machine": row.machine,
        "machine_id": row.machine_id,
        **_condition(row.condition),
        "learnt_s": round(row.learnt_s, 1),
        "auc": round(float(row.aucs.mean()), 4),
        "healthy_streams": sum(each.streams for each in row.healthy),
        "healthy_alarm": sum(each.alarm for each in row.healthy),
        "healthy_changed": sum(each.changed for each in row.healthy),
        "faulty_streams": sum(each.streams for each in row.faulty),
        "faulty_alarm": sum(each.alarm for each in row.faulty),
        "faulty_changed": sum(each.changed for each in row.faulty),
        "delay_windows_median": row.delay_windows,
    }


def _mean(mean: DecisionMean) -> dict[str, object]:
    facts: dict[str, object] = {
        "ids": mean.ids,
        **_condition(mean.condition),
        "learnt_s": round(mean.learnt_s, 1),
        "healthy_streams": mean.healthy_streams,
        "faulty_streams": mean.faulty_streams,
        "delay_windows_median": mean.delay_windows,
    }
    for name, share in (("auc", mean.auc), *((each.key, each.of(mean)) for each in _OUTCOMES)):
        facts |= {name: round(share.percent, 4), **ends(f"{name}_low", f"{name}_high", share.interval)}
    return facts


def write_decision_report(account: DecisionAccount, out: Path) -> None:
    """Write the report into the folder `out`, and the challenge's files into a folder of each bundle in it.

    Raises DatasetError as `report.make_folder`.
    """
    texts = {_RECALL: standalone(account.recall()), MARKDOWN: _markdown(account), HTML: _html(account)}
    for each in account.figures.own_splits:
        texts |= challenge_files(each)
    write_files(out, for_programs(account), texts)


def challenge_files(own: OwnSplit) -> dict[str, str]:
    """Return the files of DCASE Task 2 for a machine id: names in the report's folder -> text."""
    part = f"{own.machine}_{own.machine_id.replace(' ', '_')}" + (
        "_test" if own.machine_id.startswith("section") else ""
    )
    decisions = {name: int(score > own.threshold) for name, score in own.scores.items()}
    return {
        f"{own.detector}/anomaly_score_{part}.csv": _csv(own.scores),
        f"{own.detector}/decision_result_{part}.csv": _csv(decisions),
    }


def _csv(values: Mapping[str, float]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(values.items())
    return text.getvalue()


def _markdown(account: DecisionAccount) -> str:
    left_out = "".join(f"- {line}\n" for line in account.left_out)
    return f"# {account.dataset}: decisions\n\n{summary(account)}\n![recall against minutes learnt]({_RECALL})\n" + (
        f"\n## Left out\n\n{left_out}" if left_out else ""
    )


def _html(account: DecisionAccount) -> str:
    """Return report.html: one file that fetches nothing and runs nothing."""
    body = (
        f"{account.overview().html()}\n<h2>Recall against minutes learnt</h2>\n<figure>{account.recall()}</figure>\n"
        f"<h2>By machine id</h2>\n{account.by_id().html()}"
    )
    heading = f"{account.dataset}: decisions"
    return report_page(heading, heading, account.notes(), body, account.left_out)
