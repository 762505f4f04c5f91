"""Generations: what scores depend on, frozen and numbered; one per machine is active."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor import clock
from edge_monitor.errors import NormalsError, StorageError
from edge_monitor.memory.calibration import Calibration, CalibrationSettings, calibrate
from edge_monitor.memory.distance import K
from edge_monitor.memory.normal import bundle_mismatch
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scaler import Metric, MetricSpec, Scaler
from edge_monitor.memory.scoring_methods import fit, method_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.store.store import Store

# of a generation, what the database keeps as it is
_PLAIN = (
    "machine",
    "number",
    "created_ms",
    "bundle_hash",
    "metric",
    "bands",
    "k",
    "max_normals",
    "threshold",
    "gate_dbfs",
    "standing_dbfs",
    "reason",
)
_STORED = np.dtype("<f8")  # statistics are float64 little-endian in the database
_LARGEST, _FINEST = 1e12, 1e-12  # values are decibels or features of about 1; squares of these are within float32
_LEVELS_DBFS = (-160.0, 0.0)  # below a perfect silence, less the margin; at full scale nothing runs
_SAME_GATE_DB = 1.0  # the quietest normal is about the same: so is the microphone
_ATTEMPTS = 5  # rebuilds when normals change while the threshold is being computed


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """One frozen memory of a machine."""

    machine: str
    number: int  # counts up from 1, never reused
    created_ms: int  # wall clock, milliseconds since 1970-01-01 UTC
    bundle_hash: str
    metric: Metric
    scorer: str  # the scoring method, of scoring_methods.py
    bands: int | None  # frequency bands per block of a vector; None: it is not made of bands
    k: int
    max_normals: int | None  # a window is compared with so many of its members at most; None: with all
    scaler: Scaler
    threshold: float  # > 0, in the score's unit
    calibration: Calibration
    gate_dbfs: float | None  # level below which the machine is not running; None: no gate
    standing_dbfs: float | None  # lowest level of a window in which it stood; None: never heard so far
    reason: str  # 'enroll', 'reject <alarm>', 'remove', 'import'
    active: bool
    members: tuple[int, ...]  # normal ids, ascending

    @property
    def low_line(self) -> float | None:
        """Return the low line, > 0, in the score's unit; None where too few blocks were known, or by an old version."""
        return None if self.calibration.low_line is None else self.calibration.low_line.value

    @property
    def usual_score(self) -> float:
        """Return the score, > 0, up to which a window is usual: beyond, its microphone is worth a look."""
        return self.calibration.max_score if self.low_line is None else self.low_line

    def implausible(self) -> str | None:
        """Return in words which of its numbers cannot be what was learnt; None: each may be."""
        calibrated = self.calibration.threshold
        if not (math.isfinite(calibrated) and self.threshold > 0 and math.isclose(self.threshold, calibrated)):
            return f"its threshold is {self.threshold:.4g}, and was calibrated as {calibrated:.4g}"
        if not (math.isfinite(self.calibration.median_score) and self.calibration.median_score > 0):
            return f"its normals' median score is {self.calibration.median_score:.4g}"
        if self.scaler.mean is not None and not possible(self.scaler.mean).all():
            return "its mean has values that no embedding has"
        if self.scaler.scale is not None and not (possible(self.scaler.scale) & (self.scaler.scale > _FINEST)).all():
            return "its scale has values that no embeddings spread by"
        for name, level in (("gate", self.gate_dbfs), ("standstill", self.standing_dbfs)):
            if level is not None and not _LEVELS_DBFS[0] <= level <= _LEVELS_DBFS[1]:
                return f"its {name} is {level:.4g} dBFS"
        return None


def possible(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which of some embeddings' values, of any shape, may be there: finite, and small enough to be compared."""
    return np.asarray(np.abs(values) <= _LARGEST)  # of NaN this does not hold


def build_generation(
    store: Store,
    machine: str,
    *,
    bundle_hash: str,
    spec: MetricSpec,
    settings: CalibrationSettings,
    gate_dbfs: float | None,
    reason: str,
    k: int = K,
) -> int:
    """Freeze the normals in use as the machine's next generation, activate it, return its number.

    The threshold is computed first; the generation and its members are then written in short commits, and the last one
    activates it. Normals that changed meanwhile start it over.
    Raises NormalsError with fewer than k + 1 normals, BundleMismatchError when they come from another bundle.
    """
    for _ in range(_ATTEMPTS):
        with store.reading() as connection:
            normals = Normals(connection, machine)
            state, members, found = normals.state(), normals.ids(), normals.bundle_hash()
            if len(members) < k + 1:
                raise NormalsError(
                    f"not enrolled: {len(members)} normals, needs at least {k + 1}",
                    where=machine,
                    hint="enrol more normal sound",
                )
            if found is not None and found != bundle_hash:
                raise bundle_mismatch(machine, (found, bundle_hash))
            vectors, layout = normals.vectors(members), normals.layout(members)  # (n, dim)
        calibration = calibrate(vectors, layout, spec, settings, k=k)
        fitted = fit(None, vectors, spec, k)
        generation = Generation(
            machine=machine,
            number=0,  # until it is written
            created_ms=clock.now().wall_ms,
            bundle_hash=bundle_hash,
            metric="euclidean" if fitted.scaler.scale is None else "standardized-euclidean",
            scorer=fitted.method,
            bands=spec.bands,
            k=k,
            max_normals=spec.max_normals,
            scaler=fitted.scaler,
            threshold=calibration.threshold,
            calibration=calibration,
            gate_dbfs=gate_dbfs,
            standing_dbfs=None,  # until it is written
            reason=reason,
            active=True,
            members=members,
        )
        if number := _written(store, generation, state):
            return number
    raise NormalsError("normals keep changing while a generation is built", where=machine, hint="try again")


def _written(store: Store, new: Generation, state: tuple[int, int, int]) -> int:
    """Write and activate a generation; return its number, 0 when other normals are in use than `state` says."""

    def begin(connection: sqlite3.Connection) -> int:
        query = "SELECT 1 + coalesce(max(number), 0) FROM generations WHERE machine = ?"
        number = int(connection.execute(query, (new.machine,)).fetchone()[0])
        connection.execute(
            "INSERT INTO generations (machine, number, created_ms, bundle_hash, metric, normalization, scorer, bands,"
            " k, max_normals, mean, scale, threshold, calibration, gate_dbfs, standing_dbfs, reason, active, complete)"
            " VALUES (:machine, :number, :created_ms, :bundle_hash, :metric, :normalization, :scorer, :bands,"
            " :k, :max_normals, :mean, :scale, :threshold, :calibration, :gate_dbfs,"
            " (SELECT standing_dbfs FROM generations g WHERE machine = :machine AND active = 1"
            "  AND abs(gate_dbfs - :gate_dbfs) < :same_gate_db AND EXISTS (SELECT 1 FROM generation_members m"
            "   WHERE m.machine = g.machine AND m.number = g.number"
            "   AND m.normal_id IN (SELECT value FROM json_each(:members)))), :reason, 0, 0)",
            {
                **{name: getattr(new, name) for name in _PLAIN},
                "number": number,
                "same_gate_db": _SAME_GATE_DB,
                "members": json.dumps(new.members),
                "scorer": new.scorer,
                "normalization": new.scaler.normalization,
                "mean": _bytes(new.scaler.mean),
                "scale": _bytes(new.scaler.scale),
                "calibration": new.calibration.to_json(),
            },
        )
        return number

    def finish(connection: sqlite3.Connection) -> bool:
        if Normals(connection, new.machine).state() != state:
            return False
        connection.execute("UPDATE generations SET active = 0 WHERE machine = ?", (new.machine,))
        connection.execute(
            "UPDATE generations SET active = 1, complete = 1 WHERE machine = ? AND number = ?", (new.machine, number)
        )
        return True

    number = store.commit(begin)
    done = False
    try:
        insert = "INSERT INTO generation_members (machine, number, normal_id) VALUES (?, ?, ?)"
        store.executemany(insert, [(new.machine, number, normal_id) for normal_id in new.members])
        done = store.commit(finish)
    finally:
        if not done:
            with suppress(sqlite3.Error, StorageError):  # else at the next start
                discard(store, new.machine, number)
    return number if done else 0


def unfinished(store: Store) -> tuple[tuple[str, int], ...]:
    """Return machine and number of the generations that were being written when the last run ended."""
    with store.reading() as connection:
        rows = connection.execute("SELECT machine, number FROM generations WHERE complete = 0").fetchall()
    return tuple((row["machine"], row["number"]) for row in rows)


def discard(store: Store, machine: str, number: int) -> None:
    """Delete what was written of a generation that is not whole."""
    own = (machine, number)
    with store.reading() as connection:
        query = "SELECT normal_id FROM generation_members WHERE machine = ? AND number = ?"
        members = [row[0] for row in connection.execute(query, own)]
    delete = "DELETE FROM generation_members WHERE machine = ? AND number = ? AND normal_id = ?"
    store.executemany(delete, [(*own, each) for each in members])
    store.commit(
        lambda connection: connection.execute(
            "DELETE FROM generations WHERE machine = ? AND number = ? AND complete = 0", own
        )
    )


def list_generations(connection: sqlite3.Connection, machine: str) -> tuple[Generation, ...]:
    """Return every generation of a machine, oldest first."""
    rows = connection.execute(
        "SELECT * FROM generations WHERE machine = ? AND complete = 1 ORDER BY number", (machine,)
    ).fetchall()
    return tuple(_read(connection, row) for row in rows)


def active_generation(connection: sqlite3.Connection, machine: str) -> Generation | None:
    """Return the machine's active generation; None when it is not enrolled."""
    row = connection.execute("SELECT * FROM generations WHERE machine = ? AND active = 1", (machine,)).fetchone()
    return None if row is None else _read(connection, row)


def share_below(connection: sqlite3.Connection, generation: Generation, level_dbfs: float) -> float:
    """Return the share, 0 to 1, of a generation's normals whose level is below `level_dbfs`."""
    query = (
        "SELECT avg(level_dbfs < ?) FROM normals JOIN generation_members ON normal_id = id"
        " WHERE generation_members.machine = ? AND number = ?"
    )
    found = connection.execute(query, (level_dbfs, generation.machine, generation.number)).fetchone()[0]
    return float(found or 0.0)


def activate(store: Store, machine: str, number: int) -> None:
    """Make a generation the active one, going back or forth. Raises NormalsError when it does not exist."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE generations SET active = 0 WHERE machine = ?", (machine,))
        changed = connection.execute(
            "UPDATE generations SET active = 1 WHERE machine = ? AND number = ? AND complete = 1", (machine, number)
        )
        if changed.rowcount != 1:
            raise NormalsError(f"no generation {number}", where=machine, hint="see `edge-monitor generations list`")

    store.commit(write)


def hear_alike(before: Generation, after: Generation) -> bool:
    """Return whether what was learnt of stops goes on: a normal in common, and about the same quietest one."""
    if before.gate_dbfs is None or after.gate_dbfs is None or set(before.members).isdisjoint(after.members):
        return False
    return abs(before.gate_dbfs - after.gate_dbfs) < _SAME_GATE_DB


def set_standing(connection: sqlite3.Connection, machine: str, number: int, standing_dbfs: float) -> None:
    """Note how quiet it is when the machine stands, as it was heard while this generation was active."""
    connection.execute(
        "UPDATE generations SET standing_dbfs = ? WHERE machine = ? AND number = ?", (standing_dbfs, machine, number)
    )


def set_calibration(connection: sqlite3.Connection, machine: str, number: int, calibration: Calibration) -> None:
    """Note what else became known of a generation's calibration; its threshold stays."""
    connection.execute(
        "UPDATE generations SET calibration = ? WHERE machine = ? AND number = ?",
        (calibration.to_json(), machine, number),
    )


def _read(connection: sqlite3.Connection, row: sqlite3.Row) -> Generation:
    members = connection.execute(
        "SELECT normal_id FROM generation_members WHERE machine = ? AND number = ? ORDER BY normal_id",
        (row["machine"], row["number"]),
    )
    return Generation(
        **{name: row[name] for name in _PLAIN},
        scorer=row["scorer"] or method_name(MetricSpec(row["metric"], row["normalization"])),
        scaler=Scaler(row["normalization"], _array(row["mean"]), _array(row["scale"])),
        calibration=Calibration.from_json(row["calibration"]),
        active=bool(row["active"]),
        members=tuple(member[0] for member in members),
    )


def _bytes(values: NDArray[np.float64] | None) -> bytes | None:
    return None if values is None else values.astype(_STORED).tobytes()


def _array(stored: bytes | None) -> NDArray[np.float64] | None:
    return None if stored is None else np.frombuffer(stored, dtype=_STORED).astype(np.float64)
