"""A small database of this program's: one pump with six normals, an alarm that goes on, and two messages."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.store import database

if TYPE_CHECKING:
    from pathlib import Path

ALARM = "00000000-0000-4000-8000-000000000001"
TOPIC = "edge-monitor/v1/plant/edge/pump/alert"
DIMENSION = 4


def made(path: Path, *statements: str, version: int = database.SCHEMA_VERSION) -> Path:
    """Write a database of a schema version to `path`, without a log, change it by `statements`, and return the path."""
    vector = np.arange(1, DIMENSION + 1, dtype="<f4").tobytes()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        database.prepare(connection, str(path), version=version)
        connection.execute("INSERT INTO recordings VALUES (1, 'pump', 'a.wav', ?, 60.0, 1)", ("ab" * 32,))
        for number in range(1, 7):
            connection.execute(
                "INSERT INTO normals (id, recording_id, machine, block, start_s, level_dbfs, bundle_hash, vector,"
                " descriptors) VALUES (?, 1, 'pump', 0, 0.0, -20.0, 'cd', ?, '{}')",
                (number, vector),
            )
        connection.execute(
            "INSERT INTO generations (machine, number, created_ms, bundle_hash, metric, normalization, k, threshold,"
            " calibration, gate_dbfs, reason, active) VALUES ('pump', 1, 1, 'cd', 'euclidean', 'none', 4, 2.5, '{}',"
            " -50.0, 'enroll', 1)"
        )
        connection.execute("INSERT INTO generation_members SELECT 'pump', 1, id FROM normals")
        add_alarm(connection, ALARM, messages=2)
        for statement in statements:
            connection.execute(statement)
    return path


def add_alarm(
    connection: sqlite3.Connection, alarm_id: str, *, messages: int, ended_ms: int | None = None, first: int = 0
) -> None:
    """Add an alarm of the pump whose messages (from seq `first` to `messages` - 1) wait for the broker."""
    neighbour = {"normal_id": 1, "distance": 0.5, "recording": "a.wav", "recording_start_s": 0.0}
    connection.execute(
        "INSERT INTO alarms (alarm_id, machine, started_ms, ended_ms, last_seq, peak_score, peak_ratio, threshold,"
        " generation, level_dbfs, window_start_s, window_end_s, neighbours)"
        " VALUES (?, 'pump', 1, ?, ?, 3.0, 1.2, 2.5, 1, -20.0, 0.0, 10.0, ?)",
        (alarm_id, ended_ms, messages - 1, json.dumps([neighbour])),
    )
    connection.executemany(
        "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms) VALUES (?, ?, ?, ?, 1)",
        [(TOPIC, f'{{"seq": {seq}}}'.encode(), alarm_id, seq) for seq in range(first, messages)],
    )
