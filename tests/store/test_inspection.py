"""A foreign database is refused with what and where, before anything in it is executed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, get_args

import pytest

from edge_monitor.errors import StorageError
from edge_monitor.memory.scaler import Metric, Normalization
from edge_monitor.memory.scoring_methods import SCORING_METHODS
from edge_monitor.store import deciding
from edge_monitor.store.inspection import inspect
from tests.store.made import made

if TYPE_CHECKING:
    from pathlib import Path

_SPY = "CREATE TRIGGER spy AFTER INSERT ON alarms BEGIN INSERT INTO captions VALUES (1, 1, 1); END"
_CHECKED = (
    "UPDATE sqlite_schema SET sql = replace(sql, 'value INTEGER NOT NULL',"
    " 'value INTEGER NOT NULL CHECK (value < abs(value))') WHERE name = 'counters'"
)
_SAME_PAGE = (
    "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'alarms')"
    " WHERE name = 'outbox'"
)
_NEVER_ENDING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize("version", range(1, 7))
def test_a_database_of_any_version_of_this_program_is_accepted(tmp_path: Path, version: int) -> None:
    """Each schema is compared with what this program made of that version."""
    assert inspect(made(tmp_path / "a.db", version=version)) == version


def test_a_database_made_step_by_step_is_accepted(tmp_path: Path) -> None:
    """One that was brought up to date has the schema of a new one."""
    from edge_monitor.store import database

    path = made(tmp_path / "a.db", version=1)
    database.connect(path).close()
    assert inspect(path) == 11


@pytest.mark.parametrize(
    ("statements", "wrong"),
    [
        ((_SPY,), "schema 11: trigger spy does not belong into it"),
        (("CREATE VIEW spy AS SELECT 1",), "schema 11: view spy does not belong into it"),
        ((f"CREATE VIEW spy AS {_NEVER_ENDING}",), "schema 11: view spy does not belong into it"),
        (("CREATE TABLE more (a)",), "schema 11: table more does not belong into it"),
        (("DROP INDEX alarms_by_time",), "schema 11: index alarms_by_time is missing"),
        (("CREATE INDEX spy ON alarms (abs(threshold))",), "schema 11: index spy does not belong into it"),
        (
            ("DROP INDEX alarms_by_time", "CREATE INDEX alarms_by_time ON alarms (abs(started_ms))"),
            "schema 11: index alarms_by_time is not as this program makes it",
        ),
        (
            ("ALTER TABLE machines ADD COLUMN spy TEXT AS (hex(name)) VIRTUAL",),
            "schema 11: table machines is not as this program makes it",
        ),
        (("PRAGMA writable_schema=ON", _CHECKED), "schema 11: table counters is not as this program makes it"),
        (("PRAGMA writable_schema=ON", _SAME_PAGE), "its pages: damaged"),
        (
            ("PRAGMA writable_schema=ON", "UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'outbox'"),
            "backup: ",
        ),
        (
            ("CREATE VIRTUAL TABLE spy USING fts5(a)",),
            "schema 11: table spy does not belong into it",
        ),
        (("PRAGMA user_version=99",), "written by a newer edge-monitor (schema 99, this one knows 11)"),
        (("PRAGMA user_version=5",), "schema 5: index members_by_normal does not belong into it"),
        (("PRAGMA user_version=0",), "its header: not a database of edge-monitor"),
        (("UPDATE normals SET vector = zeroblob(5000000)",), "the database cannot be used: string or blob too big"),
        (
            ("PRAGMA foreign_keys=OFF", "UPDATE normals SET recording_id = 77"),
            "backup: normals, row 1: a row leads nowhere: there is no such row of recordings",
        ),
        (
            ("PRAGMA foreign_keys=OFF", "DELETE FROM normals WHERE id = 3"),
            "backup: generation_members, row ?: a row leads nowhere: there is no such row of normals",
        ),
    ],
)
def test_what_could_run_or_lead_astray_is_refused(tmp_path: Path, statements: tuple[str, ...], wrong: str) -> None:
    """Triggers, views, generated columns, expressions, an edited schema, huge values, rows that lead nowhere."""
    path = made(tmp_path / "a.db", *statements)
    with pytest.raises(StorageError) as refused:
        inspect(path)
    assert wrong in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE generations SET threshold = 9e999", "generations, machine pump, number 1: threshold inf must be"),
        ("UPDATE generations SET threshold = 0.0", "generations, machine pump, number 1: threshold 0.0 must be"),
        ("UPDATE generations SET gate_dbfs = 1.0", "generations, machine pump, number 1: gate_dbfs 1.0 must be"),
        ("UPDATE generations SET gate_dbfs = -9e999", "generations, machine pump, number 1: gate_dbfs -inf must be"),
        ("UPDATE generations SET standing_dbfs = 1.0", "generations, machine pump, number 1: standing_dbfs 1.0 must"),
        ("UPDATE generations SET k = 0", "generations, machine pump, number 1: k 0 must be"),
        ("UPDATE generations SET k = 6", "generations, machine pump, number 1: k 6 must be less than it has normals"),
        (
            "UPDATE generations SET max_normals = 4",
            "generations, machine pump, number 1: max_normals 4 must be more than",
        ),
        ("UPDATE generations SET metric = 'sql'", "generations, machine pump, number 1: metric 'sql' must be"),
        ("UPDATE generations SET normalization = 'x'", "generations, machine pump, number 1: normalization 'x' must"),
        ("UPDATE generations SET scorer = 'x'", "generations, machine pump, number 1: scorer 'x' must be"),
        ("UPDATE generations SET calibration = '{'", "generations, machine pump, number 1: calibration '{' must be"),
        ("UPDATE generations SET active = 2", "generations, machine pump, number 1: active 2 must be"),
        ("UPDATE generations SET mean = x'00'", "generations, machine pump, number 1: mean (1 bytes) must be"),
        (
            "UPDATE generations SET metric = 'standardized-euclidean', mean = zeroblob(32), scale = zeroblob(32)",
            "generations, machine pump, number 1: scale (32 bytes) must be",
        ),
        (
            "UPDATE generations SET metric = 'standardized-euclidean', mean = zeroblob(8), scale = x'000000000000f03f'",
            "generations, machine pump, number 1: mean (8 bytes) must be float64 numbers, all finite, as many as",
        ),
        (
            "UPDATE normals SET vector = x'0000c07f0000803f0000803f0000803f' WHERE id = 4",  # NaN
            "normals, machine pump, id 4: vector (16 bytes) must be float32 numbers, all finite",
        ),
        ("UPDATE normals SET vector = x''", "normals, machine pump, id 1: vector (0 bytes) must be"),
        (
            "UPDATE normals SET vector = zeroblob(12) WHERE id = 5",
            "must be as long as the normals of its bundle",
        ),
        (
            "UPDATE normals SET machine = 'fan' WHERE id = 2",
            "normals, machine fan, id 2: recording_id 1 must be a recording of the same",
        ),
        (
            "UPDATE normals SET bundle_hash = 'ef' WHERE id = 2",
            "generation_members, machine pump, number 1, normal_id 2",
        ),
        ("UPDATE normals SET level_dbfs = 9e999", "normals, machine pump, id 1: level_dbfs inf must be"),
        ("UPDATE normals SET descriptors = '[]'", "normals, machine pump, id 1: descriptors '[]' must be"),
        ("UPDATE recordings SET machine = '../../x'", "recordings, machine '../../x', id 1: machine '../../x' must be"),
        ("UPDATE recordings SET machine = 'a' || char(27) || '[2J'", r"recordings, machine 'a\x1b[2J', id 1"),
        ("UPDATE alarms SET neighbours = '[{}]'", "alarms, machine pump, alarm_id 00000000"),
        ('UPDATE alarms SET evidence = \'{"picture": "../../etc/x.png"}\'', "names of files below the evidence folder"),
        ("UPDATE alarms SET peak_score = 9e999", "peak_score inf must be a finite number, 0 or more"),
        ("UPDATE outbox SET payload = zeroblob(300000) WHERE id = 2", "outbox, id 2: payload (300000 bytes) must be"),
        ("UPDATE outbox SET topic = 'press/command/stop' WHERE id = 1", "outbox, id 1: topic 'press/command/stop'"),
        (
            "UPDATE sqlite_sequence SET seq = 9223372036854775807",
            "seq 9223372036854775807 must be an id that others can follow",
        ),
        ("INSERT INTO counters VALUES ('alarms_not_stored', -1)", "counters, name alarms_not_stored: value -1 must be"),
        ("INSERT INTO inhibitions VALUES ('pump', 9, 1e9)", "inhibitions, machine pump: length_s 1000000000.0 must be"),
        ("INSERT INTO machines VALUES ('pump', 'Pump', 'pump', 9)", "machines, name pump: priority 9 must be 1 to 4"),
    ],
)
def test_a_value_that_decides_is_refused_by_table_machine_and_row(tmp_path: Path, statement: str, wrong: str) -> None:
    """Thresholds, gates, vectors, scales, names, payloads: the line says which, and what it must be."""
    path = made(tmp_path / "a.db", statement)
    with pytest.raises(StorageError) as refused:
        inspect(path)
    assert wrong in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_value_of_another_type_than_its_column_is_refused(tmp_path: Path) -> None:
    """A text where the schema says INTEGER can be had with an editor of bytes; SQLite's own check finds it."""
    path = made(tmp_path / "a.db", "INSERT INTO counters VALUES ('lost', 1234567)")
    content = path.read_bytes()
    number = b"\x03\x15\x03lost" + (1234567).to_bytes(3, "big")  # header of 3 bytes: text of 4, integer of 3
    assert content.count(number) == 1
    path.write_bytes(content.replace(number, b"\x03\x15\x13lostxyz"))  # 0x13: a text of 3
    with pytest.raises(StorageError, match="damaged"):
        inspect(path)


def test_a_log_beside_it_is_not_applied(tmp_path: Path) -> None:
    """What is inspected is the file that takes the database's place, nothing else."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(made(tmp_path / "b.db"), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE generations SET threshold = 9e999")
        path.write_bytes((tmp_path / "b.db").read_bytes())
        (tmp_path / "a.db-wal").write_bytes((tmp_path / "b.db-wal").read_bytes())
    assert inspect(path) == 11


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """Nothing, zeros, noise."""
    path = tmp_path / "a.db"
    for content in (b"", bytes(4096), b"SQLite format 3\x00" + b"\xff" * 5000):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="backup"):
            inspect(path)


def test_a_large_database_is_inspected_in_little_memory(tmp_path: Path) -> None:
    """Its rows are read one by one: 100 MB of pictures take less than 40 MB more than a small one."""
    path = made(tmp_path / "a.db", "UPDATE normals SET spectrogram = zeroblob(3900000)")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO normals (recording_id, machine, block, start_s, level_dbfs, bundle_hash, vector, spectrogram)"
            " SELECT 1, 'pump', 0, 0.0, -20.0, 'cd', vector, spectrogram FROM normals, (VALUES (1), (2), (3), (4))"
        )
    assert path.stat().st_size > 100_000_000
    program = "import resource, sys; from pathlib import Path; from edge_monitor.store.inspection import inspect;"
    program += "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; inspect(Path(sys.argv[1]));"
    program += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(done.stdout) < 40_000  # kB


def test_the_names_it_knows_are_those_of_the_memory() -> None:
    """A scorer, metric or normalization that is added is accepted in a backup, too."""
    assert set(deciding.SCORERS) == set(SCORING_METHODS)
    assert get_args(Metric) == deciding.METRICS
    assert get_args(Normalization) == deciding.NORMALIZATIONS
