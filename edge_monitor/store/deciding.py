"""The values of a database that decide something, and what each must be before a foreign one is believed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from edge_monitor.config.settings import ScorerName
from edge_monitor.records import Neighbour
from edge_monitor.store import database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

METRICS = ("euclidean", "standardized-euclidean")
NORMALIZATIONS = ("none", "unit")
SCORERS: tuple[str, ...] = get_args(ScorerName)
_PAYLOAD_BYTES = 262_144  # an alert has about 2 kB
_SEGMENT = "[A-Za-z0-9_-]{1,64}"
_TOPIC = re.compile(rf"(?:{_SEGMENT}/){{3,10}}(?:alert|explanation|condition|review)")
_EVIDENCE = re.compile(rf"{_SEGMENT}/[A-Za-z0-9-]{{1,64}}\.(?:png|flac)")
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_NEIGHBOURS: TypeAdapter[list[Neighbour]] = TypeAdapter(list[Neighbour], config=_STRICT)
_LONGEST_INHIBITION_S = 86_400  # docs/mqtt: 24 hours
_MOST_MS = 4_102_444_800_000  # the year 2100; also more than any count

_COUNT = f"{{0}} BETWEEN 0 AND {_MOST_MS}"
_FINITE = "abs({0}) < 9e999"
_NOT_NEGATIVE = "{0} >= 0 AND {0} < 9e999"
_MEMBERS = "FROM generation_members m WHERE m.machine = generations.machine AND m.number = generations.number"
_NORMAL_BYTES = f"SELECT length(n.vector) FROM normals n WHERE n.id = (SELECT m.normal_id {_MEMBERS})"  # noqa: S608 - a constant
_DOUBLES = "float64 numbers, all finite, as many as a normal has, and missing for the metric euclidean alone"


@dataclass(frozen=True, slots=True)
class Rule:
    """What every value of some columns must be, where there is one: SQL that holds of it, and the same in words."""

    columns: str  # table.column, with blanks between them; those that a schema does not have yet are left out
    holds: str  # {0}: the column; {whole}: whether a generation is not just being written
    words: str


def _one_of(names: tuple[str, ...]) -> str:
    return f"{{0}} IN ({', '.join(map(repr, names))})"


RULES = (
    Rule(
        "recordings.machine normals.machine generations.machine out_of_use.machine alarms.machine inhibitions.machine"
        " score_minutes.machine score_rollups.machine rollups_due.machine machines.name alarms.alarm_id",
        "segment({0})",
        f"a name of {_SEGMENT}",
    ),
    Rule(
        "normals.block alarms.condition_seq outbox.seq score_minutes.windows score_minutes.faults counters.value"
        " score_minutes.generation score_minutes.compared score_minutes.above"
        " score_minutes.exceeding score_rollups.start_ms score_rollups.generation score_rollups.windows"
        " score_rollups.exceeding score_rollups.faults rollups_due.hour_ms"
        " explanations.seq explanations.requests explanations.unanswered llm_days.requests",
        _COUNT,
        "a whole number, 0 or more",
    ),
    Rule(
        "normals.start_s normals.level_dbfs alarms.level_dbfs alarms.window_start_s alarms.window_end_s"
        " alarm_windows.level_dbfs score_minutes.score_mean score_minutes.score_max score_minutes.threshold"
        " score_minutes.level_dbfs_mean score_rollups.score_min score_rollups.score_mean score_rollups.score_median"
        " score_rollups.score_max score_rollups.threshold score_rollups.level_dbfs_mean explanations.latency_s",
        _FINITE,
        "a finite number",
    ),
    Rule(
        "alarms.last_seq",
        f"{{0}} BETWEEN -1 AND {_MOST_MS}",
        "a whole number, 0 or more; -1: it is no alarm",
    ),
    Rule("alarms.kind", _one_of(("alarm", "changed")), "'alarm' or 'changed'"),
    Rule(
        "recordings.seconds alarms.peak_score alarms.peak_ratio alarms.first_ratio",
        _NOT_NEGATIVE,
        "a finite number, 0 or more",
    ),
    Rule(
        "generations.threshold alarms.threshold score_minutes.low_line",
        "{0} > 0 AND {0} < 9e999",
        "a finite number above 0",
    ),
    Rule("normals.vector alarm_windows.vector", "floats({0})", "float32 numbers, all finite"),
    Rule(
        "normals.vector alarm_windows.vector",
        "bundle_hash NOT IN (SELECT bundle_hash FROM normals) OR (bundle_hash, length({0})) IN"
        " (SELECT bundle_hash, min(length(vector)) FROM normals GROUP BY bundle_hash)",
        "as long as the normals of its bundle",
    ),
    Rule("normals.descriptors generations.calibration outbox.payload", "object({0})", "a JSON object"),
    Rule("explanations.findings explanations.acoustics", "parses({0})", "JSON"),
    Rule(
        "normals.recording_id",
        "machine = (SELECT r.machine FROM recordings r WHERE r.id = {0})",
        "a recording of the same machine",
    ),
    Rule("generations.number", "{0} BETWEEN 1 AND 1000000000", "a whole number above 0"),
    Rule(
        "generations.metric",
        f"{_one_of(METRICS)} AND ({{0}} = 'euclidean' OR (mean IS NOT NULL AND scale IS NOT NULL))",
        "a metric this version knows, with means and scales unless it is euclidean",
    ),
    Rule("score_rollups.period_s", "{0} IN (3600, 86400)", "an hour or a day, in seconds"),
    Rule("generations.normalization", _one_of(NORMALIZATIONS), "one this version knows"),
    Rule("generations.scorer", _one_of(SCORERS), "one this version knows"),
    Rule("generations.bands", "{0} BETWEEN 1 AND 65536", "a number of bands"),
    Rule("generations.k", "{0} BETWEEN 1 AND 1000", "1 to 1000"),
    Rule("generations.max_normals", "{0} > k", "more than its k"),
    Rule("generations.k", f"NOT {{whole}} OR {{0}} < (SELECT count(*) {_MEMBERS})", "less than it has normals"),
    Rule(
        "generations.mean",
        "metric <> 'euclidean' AND doubles({0})"
        f" AND length({{0}}) = 2 * coalesce(({_NORMAL_BYTES}), length({{0}}) / 2)",
        _DOUBLES,
    ),
    Rule(
        "generations.scale",
        "metric <> 'euclidean' AND positive_doubles({0}) AND length({0}) = length(mean)",
        f"above 0, {_DOUBLES}",
    ),
    Rule(
        "generations.gate_dbfs generations.standing_dbfs",
        "{0} <= 0 AND {0} > -9e999",
        "a finite level of at most 0 dBFS",
    ),
    Rule("generations.active generations.complete alarms.growing", "{0} IN (0, 1)", "0 or 1"),
    Rule(
        "generation_members.normal_id",
        "EXISTS (SELECT 1 FROM normals n JOIN generations g USING (machine, bundle_hash) WHERE n.id = {0}"
        " AND g.machine = generation_members.machine AND g.number = generation_members.number)",
        "a normal of the same machine and bundle",
    ),
    Rule("alarms.neighbours", "neighbours({0})", "a JSON list of neighbours"),
    Rule("alarms.evidence", "evidence({0})", "names of files below the evidence folder"),
    Rule("inhibitions.length_s", f"{{0}} > 0 AND {{0}} <= {_LONGEST_INHIBITION_S}", "at most 24 hours"),
    Rule("outbox.id sqlite_sequence.seq", _COUNT, "an id that others can follow"),
    Rule("outbox.topic", "topic({0})", "a topic of a machine's alerts or explanations"),
    Rule("outbox.payload", f"length({{0}}) <= {_PAYLOAD_BYTES}", f"at most {_PAYLOAD_BYTES} bytes"),
    Rule("machines.priority", "{0} BETWEEN 1 AND 4", "1 to 4"),
)


def add_functions(connection: sqlite3.Connection) -> None:
    """Have a connection know the functions that the rules use. The schema itself cannot call them."""
    for function in (segment, topic, floats, doubles, positive_doubles, parses, object_, neighbours, evidence):
        name = function.__name__.rstrip("_")
        connection.create_function(name, 1, _false_of_another_type(function), deterministic=True)


def broken(connection: sqlite3.Connection) -> Iterator[tuple[str, dict[str, object], str]]:
    """Yield (table, key of the row, what is wrong) of the first row that breaks each rule. Raises sqlite3.Error."""
    whole = "complete" if "complete" in database.columns(connection, "generations") else "1"
    for place, holds, words in ((place, each.holds, each.words) for each in RULES for place in each.columns.split()):
        table, _, column = place.partition(".")
        columns = database.columns(connection, table)
        if column not in columns:
            continue
        keys = [name for name, is_key in columns.items() if is_key] or ["name"]
        if columns.get("machine") == 0:
            keys.insert(0, "machine")
        query = (
            f"SELECT {column}, {', '.join(keys)} FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608 - names of this file and of a schema that is known
            f" AND NOT coalesce({holds.format(column, whole=whole)}, 0) LIMIT 1"
        )
        for value, *key in connection.execute(query):
            yield table, dict(zip(keys, key, strict=True)), f"{column} {_shown(value)} must be {words}"


def _shown(value: object) -> str:
    if value is None:
        return "(missing)"
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    return ascii(value)[:80]


def _false_of_another_type(function: Callable[..., bool]) -> Callable[[object], bool]:
    def checked(value: object) -> bool:
        try:
            return function(value)
        except (TypeError, ValueError, RecursionError, AttributeError):
            return False

    return checked


def segment(text: str) -> bool:
    """Return whether a text can be a machine's name: nothing that leads to another folder or topic."""
    return re.fullmatch(_SEGMENT, text) is not None


def topic(text: str) -> bool:
    """Return whether a text is a topic of this program's alerts."""
    return _TOPIC.fullmatch(text) is not None


def floats(stored: bytes) -> bool:
    """Return whether bytes are one or more finite float32 numbers."""
    return _all_finite(np.frombuffer(stored, dtype="<f4"))


def doubles(stored: bytes) -> bool:
    """Return whether bytes are one or more finite float64 numbers."""
    return _all_finite(np.frombuffer(stored, dtype="<f8"))


def positive_doubles(stored: bytes) -> bool:
    """Return whether bytes are one or more finite float64 numbers above 0."""
    return doubles(stored) and bool((np.frombuffer(stored, dtype="<f8") > 0).all())


def _all_finite(numbers: np.ndarray[tuple[int], np.dtype[np.floating]]) -> bool:
    return len(numbers) > 0 and bool(np.isfinite(numbers).all())


def parses(text: str) -> bool:
    """Return whether a text is JSON."""
    json.loads(text)
    return True


def object_(text: str | bytes) -> bool:
    """Return whether a text is a JSON object."""
    return isinstance(json.loads(text), dict)


def neighbours(text: str) -> bool:
    """Return whether a text is the JSON list of an alarm's nearest normals."""
    _NEIGHBOURS.validate_json(text)
    return True


def evidence(text: str) -> bool:
    """Return whether a text is a JSON object of evidence files' names."""
    return all(_EVIDENCE.fullmatch(name) for name in json.loads(text).values())
