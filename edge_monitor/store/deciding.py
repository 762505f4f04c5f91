"""The values of a database that decide something, and what each must be before a foreign one is believed."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from edge_monitor.config.settings import ScorerName
from edge_monitor.records import Neighbour

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
_NEIGHBOUR = {field.name for field in fields(Neighbour)}
_LONGEST_INHIBITION_S = 86_400  # docs/mqtt: 24 hours
_MOST_MS = 4_102_444_800_000  # the year 2100; also more than any count

_MACHINE = f"a name of {_SEGMENT}"
_FINITE = "a finite number"
_POSITIVE = "a finite number above 0"
_NOT_NEGATIVE = "a finite number, 0 or more"
_VECTOR = "float32 numbers, all finite"
_COUNT = "a whole number, 0 or more"
_WHOLE = "/* of whole generations */"  # stands for what only newer schemas can tell
_OBJECT = "a JSON object"


@dataclass(frozen=True, slots=True)
class Rule:
    """What every value of a column must be; SQL that is true of such a row, and the same in words."""

    table: str
    column: str
    holds: str
    words: str
    since: int = 1  # the first schema that has the column


@dataclass(frozen=True, slots=True)
class Relation:
    """What rows must be to each other: a query for those that are not, their keys as `KEYS` has them."""

    table: str
    query: str
    words: str


# How a row is named to a person.
KEYS = {
    "recordings": ("machine", "id"),
    "normals": ("machine", "id"),
    "generations": ("machine", "number"),
    "generation_members": ("machine", "number", "normal_id"),
    "out_of_use": ("machine", "bundle_hash", "recording_id"),
    "alarms": ("machine", "alarm_id"),
    "alarm_windows": ("alarm_id", "number"),
    "inhibitions": ("machine",),
    "outbox": ("id",),
    "score_minutes": ("machine", "minute_ms"),
    "counters": ("name",),
    "explanations": ("alarm_id", "method"),
    "captions": ("vector_sha256",),
    "llm_days": ("day",),
    "machines": ("name",),
}


def _finite(column: str) -> str:
    return f"abs({column}) < 9e999"


def _one_of(column: str, names: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(map(repr, names))})"


RULES = (
    Rule("recordings", "machine", "segment(machine)", _MACHINE),
    Rule("recordings", "seconds", "seconds >= 0 AND seconds < 9e999", _NOT_NEGATIVE),
    Rule("normals", "machine", "segment(machine)", _MACHINE),
    Rule("normals", "block", "block >= 0", _COUNT),
    Rule("normals", "start_s", _finite("start_s"), _FINITE),
    Rule("normals", "level_dbfs", _finite("level_dbfs"), _FINITE),
    Rule("normals", "vector", "floats(vector)", _VECTOR),
    Rule("normals", "descriptors", "descriptors IS NULL OR object(descriptors)", _OBJECT),
    Rule("generations", "machine", "segment(machine)", _MACHINE),
    Rule("generations", "number", "number BETWEEN 1 AND 1000000000", "a whole number above 0"),
    Rule("generations", "metric", _one_of("metric", METRICS), "a metric this version knows"),
    Rule("generations", "normalization", _one_of("normalization", NORMALIZATIONS), "one this version knows"),
    Rule("generations", "scorer", f"scorer IS NULL OR {_one_of('scorer', SCORERS)}", "one this version knows", since=6),
    Rule("generations", "bands", "bands IS NULL OR bands BETWEEN 1 AND 65536", "a number of bands", since=6),
    Rule("generations", "k", "k BETWEEN 1 AND 1000", "1 to 1000"),
    Rule(
        "generations",
        "mean",
        "(metric = 'euclidean' AND mean IS NULL) OR (metric <> 'euclidean' AND doubles(mean))",
        "float64 numbers, all finite, and missing for the metric euclidean alone",
    ),
    Rule(
        "generations",
        "scale",
        "(metric = 'euclidean' AND scale IS NULL) OR"
        " (metric <> 'euclidean' AND positive_doubles(scale) AND length(scale) = length(mean))",
        "float64 numbers, all finite and above 0, as many as the means, and missing for the metric euclidean alone",
    ),
    Rule("generations", "threshold", "threshold > 0 AND threshold < 9e999", _POSITIVE),
    Rule("generations", "calibration", "object(calibration)", _OBJECT),
    Rule(
        "generations",
        "gate_dbfs",
        "gate_dbfs IS NULL OR (gate_dbfs <= 0 AND gate_dbfs > -9e999)",
        "a finite level of at most 0 dBFS",
    ),
    Rule("generations", "active", "active IN (0, 1)", "0 or 1"),
    Rule("generations", "complete", "complete IN (0, 1)", "0 or 1", since=7),
    Rule("out_of_use", "machine", "segment(machine)", _MACHINE, since=7),
    Rule("alarms", "machine", "segment(machine)", _MACHINE),
    Rule("alarms", "alarm_id", "segment(alarm_id)", "an alarm's id"),
    Rule("alarms", "last_seq", "last_seq BETWEEN 0 AND 1000000000", _COUNT),
    Rule("alarms", "peak_score", "peak_score >= 0 AND peak_score < 9e999", _NOT_NEGATIVE),
    Rule("alarms", "peak_ratio", "peak_ratio >= 0 AND peak_ratio < 9e999", _NOT_NEGATIVE),
    Rule("alarms", "threshold", "threshold > 0 AND threshold < 9e999", _POSITIVE),
    Rule("alarms", "level_dbfs", _finite("level_dbfs"), _FINITE),
    Rule("alarms", "window_start_s", _finite("window_start_s"), _FINITE),
    Rule("alarms", "window_end_s", _finite("window_end_s"), _FINITE),
    Rule("alarms", "neighbours", "neighbours(neighbours)", "a JSON list of neighbours"),
    Rule("alarms", "evidence", "evidence IS NULL OR evidence(evidence)", "names of files below the evidence folder"),
    Rule("alarm_windows", "level_dbfs", _finite("level_dbfs"), _FINITE),
    Rule("alarm_windows", "vector", "floats(vector)", _VECTOR),
    Rule("inhibitions", "machine", "segment(machine)", _MACHINE),
    Rule(
        "inhibitions",
        "length_s",
        f"length_s > 0 AND length_s <= {_LONGEST_INHIBITION_S}",
        "at most 24 hours",
        since=4,
    ),
    Rule("outbox", "id", f"id BETWEEN 1 AND {_MOST_MS}", "an id that others can follow"),
    Rule("outbox", "topic", "topic(topic)", "a topic of a machine's alerts or explanations"),
    Rule("outbox", "payload", f"length(payload) <= {_PAYLOAD_BYTES}", f"at most {_PAYLOAD_BYTES} bytes"),
    Rule("outbox", "payload", "object(payload)", _OBJECT),
    Rule("outbox", "seq", "seq BETWEEN 0 AND 1000000000", _COUNT),
    Rule("score_minutes", "machine", "segment(machine)", _MACHINE),
    Rule("score_minutes", "windows", "windows >= 0 AND faults >= 0", _COUNT),
    *(
        Rule("score_minutes", column, f"{column} IS NULL OR {_finite(column)}", _FINITE)
        for column in ("score_mean", "score_max", "threshold", "level_dbfs_mean")
    ),
    Rule("counters", "value", f"value BETWEEN 0 AND {_MOST_MS}", _COUNT),
    Rule("explanations", "seq", "seq BETWEEN 0 AND 1000000000", _COUNT, since=2),
    Rule("explanations", "requests", "requests >= 0 AND unanswered >= 0", _COUNT, since=2),
    Rule("explanations", "latency_s", f"latency_s IS NULL OR {_finite('latency_s')}", _FINITE, since=2),
    *(
        Rule("explanations", column, f"{column} IS NULL OR parses({column})", "JSON", since=2)
        for column in ("findings", "acoustics")
    ),
    Rule("llm_days", "requests", "requests >= 0", _COUNT, since=2),
    Rule("machines", "name", "segment(name)", _MACHINE, since=3),
    Rule("machines", "priority", "priority BETWEEN 1 AND 4", "1 to 4", since=3),
)
RELATIONS = (
    Relation(
        "normals",
        "SELECT n.machine, n.id FROM normals n JOIN recordings r ON r.id = n.recording_id WHERE r.machine <> n.machine",
        "its recording is another machine's",
    ),
    Relation(
        "normals",
        "SELECT n.machine, n.id FROM normals n JOIN"
        " (SELECT bundle_hash, min(length(vector)) AS least FROM normals GROUP BY bundle_hash) b"
        " ON b.bundle_hash = n.bundle_hash WHERE length(n.vector) <> b.least",
        "its vector has another length than others of its bundle",
    ),
    Relation(
        "alarm_windows",
        "SELECT w.alarm_id, w.number FROM alarm_windows w JOIN"
        " (SELECT bundle_hash, min(length(vector)) AS least FROM normals GROUP BY bundle_hash) b"
        " ON b.bundle_hash = w.bundle_hash WHERE length(w.vector) <> b.least",
        "its vector has another length than the normals of its bundle",
    ),
    Relation(
        "generation_members",
        "SELECT m.machine, m.number, m.normal_id FROM generation_members m JOIN normals n ON n.id = m.normal_id"
        " JOIN generations g ON g.machine = m.machine AND g.number = m.number"
        " WHERE n.machine <> m.machine OR n.bundle_hash <> g.bundle_hash",
        "this normal is another machine's or another bundle's",
    ),
    Relation(
        "generations",
        "SELECT g.machine, g.number FROM generations g WHERE (SELECT count(*) FROM generation_members m"  # noqa: S608 - constants of this file
        " WHERE m.machine = g.machine AND m.number = g.number) <= g.k " + _WHOLE,
        "it has no more than k normals",
    ),
    Relation(
        "generations",
        "SELECT g.machine, g.number FROM generations g WHERE g.mean IS NOT NULL AND length(g.mean) / 2 <>"
        " (SELECT length(n.vector) FROM generation_members m JOIN normals n ON n.id = m.normal_id"
        " WHERE m.machine = g.machine AND m.number = g.number LIMIT 1)",
        "its means are not as many as its normals' dimensions",
    ),
    Relation(
        "generations",
        "SELECT machine, max(number) FROM generations WHERE active = 1 GROUP BY machine HAVING count(*) > 1",
        "the machine has more than one active generation",
    ),
    Relation(
        "outbox",
        f"SELECT seq FROM sqlite_sequence WHERE name = 'outbox' AND NOT seq BETWEEN 0 AND {_MOST_MS}",  # noqa: S608 - a constant
        "no id can follow",
    ),
)


def add_functions(connection: sqlite3.Connection) -> None:
    """Have a connection know the functions that the rules use. The schema itself cannot call them."""
    for function in (segment, topic, floats, doubles, positive_doubles, parses, object_, neighbours, evidence):
        name = function.__name__.rstrip("_")
        connection.create_function(name, 1, _false_of_another_type(function), deterministic=True)


def broken(connection: sqlite3.Connection, version: int) -> Iterator[tuple[str, tuple[object, ...], str]]:
    """Yield (table, key of the row, what is wrong) of the first row that breaks each rule. Raises sqlite3.Error."""
    for rule in RULES:
        if rule.since > version:
            continue
        keys = KEYS[rule.table]
        query = (
            f"SELECT {', '.join(keys)}, {rule.column} FROM {rule.table}"  # noqa: S608 - names of this file
            f" WHERE NOT coalesce({rule.holds}, 0) LIMIT 1"
        )
        for row in connection.execute(query):
            yield rule.table, tuple(row[: len(keys)]), f"{rule.column} {_shown(row[len(keys)])} must be {rule.words}"
    for relation in RELATIONS:
        whole = "AND g.complete = 1" if version >= 7 else ""  # noqa: PLR2004 - what was being written does not count
        for row in connection.execute(f"{relation.query.replace(_WHOLE, whole)} LIMIT 1"):
            yield relation.table, tuple(row), relation.words


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
    found: list[dict[str, Any]] = json.loads(text)
    return all(
        each.keys() == _NEIGHBOUR
        and isinstance(each["normal_id"], int)
        and isinstance(each["recording"], str)
        and math.isfinite(each["distance"])
        and math.isfinite(each["recording_start_s"])
        for each in found
    )


def evidence(text: str) -> bool:
    """Return whether a text is a JSON object of evidence files' names."""
    return all(_EVIDENCE.fullmatch(name) for name in json.loads(text).values())
