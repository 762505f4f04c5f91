"""What the plant was promised since a backup was made is still promised after its restore."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from edge_monitor.store import database
from edge_monitor.store.carrying_over import REASON, CarriedOver, carry_over
from tests.store.made import ALARM, add_alarm, made

if TYPE_CHECKING:
    from pathlib import Path

LATER = "00000000-0000-4000-8000-000000000002"


def both(folder: Path, *since: str) -> tuple[Path, sqlite3.Connection]:
    """Return a database after some statements, and a connection to what was its backup before them."""
    return made(folder / "now.db", *since), database.connect(made(folder / "backup.db"))


def messages(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return what waits, in its order."""
    return [tuple(row) for row in connection.execute("SELECT alarm_id, seq FROM outbox ORDER BY id")]


def counters(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the counters."""
    return dict(map(tuple, connection.execute("SELECT name, value FROM counters")))


def test_what_waits_in_both_stays_once_and_what_was_delivered_since_is_not_sent_again(tmp_path: Path) -> None:
    """Message 0 was acknowledged after the backup; message 1 waits in both; nothing is lost or doubled."""
    now, restored = both(tmp_path, "DELETE FROM outbox WHERE seq = 0", "INSERT INTO counters VALUES ('outbox_sent', 1)")
    with closing(restored):
        assert carry_over(now, restored) == CarriedOver(messages=1, alarms=1)
        assert messages(restored) == [(ALARM, 1)]
        assert counters(restored) == {
            "outbox_bytes": 10,
            "outbox_due": 1,
            "outbox_due_explanations": 0,
            "outbox_held": 0,
            "outbox_sent": 1,
        }


def test_an_episode_s_messages_are_known_by_its_own_sequence(tmp_path: Path) -> None:
    """What the replaced database knows more of the episode goes on, and what it has delivered is not sent again."""
    episode = "UPDATE alarms SET kind = 'changed', raised_ms = NULL, last_seq = -1, condition_seq = "
    topic = "UPDATE outbox SET topic = 'edge-monitor/v1/plant/edge/pump/condition'"
    now = made(tmp_path / "now.db", f"{episode} 1", topic, "DELETE FROM outbox")
    with closing(database.connect(made(tmp_path / "backup.db", f"{episode} 0", topic))) as restored:
        assert carry_over(now, restored) == CarriedOver(messages=0, alarms=1)
        assert messages(restored) == []
        [row] = restored.execute("SELECT kind, last_seq, condition_seq FROM alarms")
        assert tuple(row) == ("changed", -1, 1)


def test_an_alarm_that_ended_since_has_ended_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """The backup's active alarm is over, as the plant was told; the present one is, with its messages."""
    now, restored = both(tmp_path, "UPDATE alarms SET ended_ms = 5, last_seq = 2")
    with closing(sqlite3.connect(now)) as connection, connection:
        add_alarm(connection, LATER, messages=3, first=1)
    with closing(restored):
        assert carry_over(now, restored) == CarriedOver(messages=4, alarms=2)
        assert messages(restored) == [(ALARM, 0), (ALARM, 1), (LATER, 1), (LATER, 2)]
        rows = restored.execute("SELECT alarm_id, ended_ms, last_seq FROM alarms ORDER BY alarm_id")
        assert [tuple(row) for row in rows] == [(ALARM, 5, 2), (LATER, None, 2)]
        assert restored.execute("SELECT seq FROM sqlite_sequence").fetchone()[0] >= 4


def test_on_a_new_box_everything_of_the_backup_is_sent(tmp_path: Path) -> None:
    """Nobody knows what was delivered: at least once."""
    empty = tmp_path / "empty.db"
    database.connect(empty).close()
    with closing(database.connect(made(tmp_path / "backup.db"))) as restored:
        assert carry_over(empty, restored) == CarriedOver(messages=0, alarms=0)
        assert messages(restored) == [(ALARM, 0), (ALARM, 1)]
        assert restored.execute("SELECT ended_ms FROM alarms").fetchone()[0] is None


def test_an_alarm_of_which_the_backup_knows_more_stays_as_the_backup_has_it(tmp_path: Path) -> None:
    """An older backup was restored in between: the newer one's messages are not taken for delivered."""
    now, restored = both(tmp_path, "UPDATE alarms SET last_seq = 0", "DELETE FROM outbox")
    with closing(restored):
        assert carry_over(now, restored) == CarriedOver(messages=0, alarms=0)
        assert messages(restored) == [(ALARM, 1)]
        assert restored.execute("SELECT last_seq FROM alarms").fetchone()[0] == 1


def test_a_foreign_alarm_does_not_stand_in_the_way_of_the_present_one(tmp_path: Path) -> None:
    """A machine has one active alarm: the one that goes on here; the backup's ends in the list."""
    now = made(tmp_path / "now.db", "DELETE FROM outbox", "DELETE FROM alarms")
    with closing(sqlite3.connect(now)) as connection, connection:
        add_alarm(connection, LATER, messages=1)
    with closing(database.connect(made(tmp_path / "backup.db"))) as restored:
        carry_over(now, restored)
        rows = restored.execute("SELECT alarm_id, end_reason FROM alarms ORDER BY alarm_id")
        assert [tuple(row) for row in rows] == [(ALARM, REASON), (LATER, None)]


def test_inhibitions_machines_and_losses_are_those_of_today(tmp_path: Path) -> None:
    """A person's word, the states the broker holds, and what was counted outlive a restore."""
    now, restored = both(
        tmp_path,
        "INSERT INTO inhibitions VALUES ('pump', 99, 60.0)",
        "INSERT INTO machines VALUES ('pump', 'Pump', 'pump', 3)",
        "INSERT INTO counters VALUES ('alarms_not_stored', 3)",
        "INSERT INTO explanations (alarm_id, seq, method, created_ms) SELECT alarm_id, 0, 'measured', 1 FROM alarms",
    )
    with closing(restored):
        restored.execute("INSERT INTO inhibitions VALUES ('fan', 99, 60.0)")
        carry_over(now, restored)
        assert [row[0] for row in restored.execute("SELECT machine FROM inhibitions")] == ["pump"]
        assert [row[0] for row in restored.execute("SELECT name FROM machines")] == ["pump"]
        assert counters(restored)["alarms_not_stored"] == 3
        assert [row[0] for row in restored.execute("SELECT method FROM explanations")] == ["measured"]


def test_of_an_older_schema_what_both_have_goes_over(tmp_path: Path) -> None:
    """The program was upgraded, and a backup restored before it ever ran."""
    now = made(tmp_path / "now.db", "DELETE FROM outbox WHERE seq = 0", version=1)
    with closing(database.connect(made(tmp_path / "backup.db"))) as restored:
        assert carry_over(now, restored) == CarriedOver(messages=1, alarms=1)
        assert messages(restored) == [(ALARM, 1)]


def test_of_a_damaged_database_nothing_goes_over(tmp_path: Path) -> None:
    """The backup is restored as it is, with counters that are right."""
    damaged = tmp_path / "now.db"
    damaged.write_bytes(b"damaged!" * 1000)
    with closing(database.connect(made(tmp_path / "backup.db"))) as restored:
        assert carry_over(damaged, restored) is None
        assert messages(restored) == [(ALARM, 0), (ALARM, 1)]
        assert counters(restored)["outbox_due"] == 2
