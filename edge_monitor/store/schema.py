"""The tables of a node's database, and the steps that lead from one version of them to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

SCHEMA_VERSION = 11

# Every table in one place, so that one commit can span rooms: an alarm, its outbox row and its explanation job.
_SCHEMA = """
CREATE TABLE recordings (            -- where normals come from: a file, or a stretch of live sound
  id INTEGER PRIMARY KEY,
  machine TEXT NOT NULL,
  name TEXT NOT NULL,                -- file name or 'live 2026-01-31T08:15:00Z'
  sha256 TEXT NOT NULL,              -- of the file's bytes; of the vectors when live
  seconds REAL NOT NULL,
  added_ms INTEGER NOT NULL,
  UNIQUE (machine, sha256)
) STRICT;
CREATE TABLE normals (
  id INTEGER PRIMARY KEY,
  recording_id INTEGER NOT NULL REFERENCES recordings (id) ON DELETE CASCADE,
  machine TEXT NOT NULL,
  block INTEGER NOT NULL,            -- calibration block within the recording
  start_s REAL NOT NULL,             -- position in the recording
  level_dbfs REAL NOT NULL,
  mode TEXT,                         -- operating mode, when the plant gives one
  bundle_hash TEXT NOT NULL,
  vector BLOB NOT NULL,              -- float32 little-endian, raw
  spectrogram BLOB,                  -- compact picture of the window, see explain/
  descriptors TEXT,                  -- JSON, acoustics measured at enrolment
  removed_ms INTEGER                 -- NULL while in use; removal is undoable
) STRICT;
CREATE INDEX normals_by_machine ON normals (machine, removed_ms);
CREATE TABLE generations (
  machine TEXT NOT NULL,
  number INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  bundle_hash TEXT NOT NULL,
  metric TEXT NOT NULL,
  normalization TEXT NOT NULL,       -- of each vector before the metric: 'none' or 'unit'
  k INTEGER NOT NULL,
  mean BLOB,                         -- float64, per dimension; NULL for the plain euclidean metric
  scale BLOB,                        -- float64, per dimension: std over the normals + floor
  threshold REAL NOT NULL,
  calibration TEXT NOT NULL,         -- JSON: what the threshold means
  gate_dbfs REAL,                    -- level below which the machine is not running; NULL = no gate
  reason TEXT NOT NULL,              -- 'enroll', 'reject <alarm>', 'remove', 'import'
  active INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (machine, number)
) STRICT;
CREATE UNIQUE INDEX one_active_generation ON generations (machine) WHERE active = 1;
CREATE TABLE generation_members (
  machine TEXT NOT NULL,
  number INTEGER NOT NULL,
  normal_id INTEGER NOT NULL REFERENCES normals (id) ON DELETE CASCADE,
  PRIMARY KEY (machine, number, normal_id),
  FOREIGN KEY (machine, number) REFERENCES generations (machine, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE alarms (
  alarm_id TEXT PRIMARY KEY,
  machine TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,                  -- NULL while active
  last_seq INTEGER NOT NULL,
  peak_score REAL NOT NULL,
  peak_ratio REAL NOT NULL,          -- highest score / threshold, each with the threshold of its moment
  threshold REAL NOT NULL,           -- at the start, as all that follows
  generation INTEGER NOT NULL,
  level_dbfs REAL NOT NULL,
  window_start_s REAL NOT NULL,
  window_end_s REAL NOT NULL,
  neighbours TEXT NOT NULL,          -- JSON
  evidence TEXT,                     -- JSON: file names below {state_dir}/evidence
  end_reason TEXT,
  rejected_ms INTEGER
) STRICT;
CREATE TABLE alarm_windows (         -- disjoint exceeding windows: what a rejected alarm adds to the normals
  alarm_id TEXT NOT NULL REFERENCES alarms (alarm_id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  level_dbfs REAL NOT NULL,
  bundle_hash TEXT NOT NULL,
  vector BLOB NOT NULL,              -- float32 little-endian, raw
  PRIMARY KEY (alarm_id, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_active_alarm ON alarms (machine) WHERE ended_ms IS NULL;
CREATE INDEX alarms_by_time ON alarms (started_ms);
CREATE TABLE inhibitions (           -- raise no new alarm before this wall time
  machine TEXT PRIMARY KEY,
  until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- order of commitment; never reused
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,             -- the exact bytes; immutable once committed
  alarm_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  parked_reason TEXT,                -- NULL while due; a poison row is parked, later rows flow
  UNIQUE (topic, alarm_id, seq)
) STRICT;
CREATE TABLE score_minutes (         -- what became of each machine, minute by minute
  machine TEXT NOT NULL,
  minute_ms INTEGER NOT NULL,
  windows INTEGER NOT NULL,
  score_mean REAL,
  score_max REAL,
  threshold REAL,
  level_dbfs_mean REAL,
  faults INTEGER NOT NULL,
  PRIMARY KEY (machine, minute_ms)
) STRICT, WITHOUT ROWID;
CREATE TABLE counters (              -- losses survive a restart: every one is counted
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

# Schema 2: explanations.
_EXPLANATIONS = """
CREATE TABLE explanations (          -- a job until it is finished, then what was published
  alarm_id TEXT NOT NULL REFERENCES alarms (alarm_id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,              -- of the published message
  method TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  finished_ms INTEGER,               -- NULL while it waits
  requests INTEGER NOT NULL DEFAULT 0, -- to the LLM, each counted before it is sent
  unanswered INTEGER NOT NULL DEFAULT 0, -- requests whose answer was never seen: the node stopped meanwhile
  draft TEXT,                        -- an answer in the wrong form, kept so that it is not paid for again
  text TEXT,                         -- NULL when unavailable
  reason TEXT,                       -- why it is unavailable
  findings TEXT,                     -- JSON
  acoustics TEXT,                    -- JSON: what was measured of the anomalous window
  caption TEXT,
  model TEXT,
  prompt_version TEXT,
  format_ok INTEGER,
  latency_s REAL,
  PRIMARY KEY (alarm_id, method),
  UNIQUE (alarm_id, seq)
) STRICT;
CREATE INDEX explanations_waiting ON explanations (created_ms) WHERE finished_ms IS NULL;
CREATE TABLE captions (              -- decoded once: captions of normals
  vector_sha256 TEXT NOT NULL,
  decoder_sha256 TEXT NOT NULL,      -- of mapper, decoder and vocabulary
  text TEXT NOT NULL,
  PRIMARY KEY (vector_sha256, decoder_sha256)
) STRICT, WITHOUT ROWID;
CREATE TABLE llm_days (              -- the budget
  day TEXT PRIMARY KEY,              -- UTC, YYYY-MM-DD
  requests INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

# Schema 3: machines that are taken leave of; at the outbox's cap explanations go before alerts.
_LEAVE = """
CREATE TABLE machines (              -- whose state the broker may hold, and what an alert about each needs
  name TEXT PRIMARY KEY,
  display_name TEXT NOT NULL,
  kind TEXT NOT NULL,
  priority INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO machines SELECT machine, machine, 'machine', 3 FROM
  (SELECT machine FROM recordings UNION SELECT machine FROM alarms UNION SELECT machine FROM score_minutes);
CREATE INDEX outbox_explanations ON outbox (id) WHERE substr(topic, -12) = '/explanation';
"""
# Schema 4: a clock that is behind must not make an inhibition longer than it was; before, 24 hours were the limit.
_LENGTH = """
ALTER TABLE inhibitions ADD COLUMN length_s REAL NOT NULL DEFAULT 86400;
"""
# Schema 5: explanations that wait for the broker are counted on their own.
_KINDS = """
INSERT OR REPLACE INTO counters SELECT 'outbox_due_explanations', count(*) FROM outbox
  WHERE parked_reason IS NULL AND substr(topic, -12) = '/explanation';
"""
# Schema 6: what scores a generation's windows; before, that was eq. 1 in its metric.
_SCORER = """
ALTER TABLE generations ADD COLUMN scorer TEXT;   -- a name of memory/scoring_methods.py; NULL: eq. 1 in the metric
ALTER TABLE generations ADD COLUMN bands INTEGER; -- frequency bands per block of a vector; NULL: not made of bands
"""
# Schema 7: what is written in many short commits counts only once it is whole.
_PIECES = """
CREATE TABLE out_of_use (            -- normals that do not count, marked as removed or not
  machine TEXT NOT NULL,
  bundle_hash TEXT NOT NULL,
  recording_id INTEGER NOT NULL,     -- whose normals are being written; 0: all of this bundle, another took its place
  change TEXT NOT NULL,              -- id of the change that writes them; '' for 0
  PRIMARY KEY (machine, bundle_hash, recording_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX normals_by_recording ON normals (recording_id, bundle_hash);
CREATE INDEX members_by_normal ON generation_members (normal_id);
DROP INDEX normals_by_machine; -- now with all that says what is in use: the rows themselves hold pictures
CREATE INDEX normals_by_machine ON normals (machine, removed_ms, bundle_hash, recording_id);
ALTER TABLE generations ADD COLUMN complete INTEGER NOT NULL DEFAULT 1; -- 0 while its members are being written
"""
# Schema 8: how quiet it is when a machine stands, learnt while the generation is active.
_STANDSTILL = """
ALTER TABLE generations ADD COLUMN standing_dbfs REAL; -- lowest level of a window; NULL: it was never heard standing
"""
# Schema 9: episodes that are no alarm, or not yet; minute by minute what the long memory goes on with after a restart.
_CONDITION = """
ALTER TABLE alarms ADD COLUMN kind TEXT NOT NULL DEFAULT 'alarm'; -- by which it began: 'changed' is an episode
ALTER TABLE alarms ADD COLUMN raised_ms INTEGER;     -- when it became an alarm; NULL: it has not, and last_seq is -1
ALTER TABLE alarms ADD COLUMN condition_seq INTEGER; -- of an episode's last message; NULL: it began as an alarm
ALTER TABLE alarms ADD COLUMN first_ratio REAL;      -- median score / threshold of the first interval; NULL: not over
ALTER TABLE alarms ADD COLUMN growing INTEGER NOT NULL DEFAULT 0;
UPDATE alarms SET raised_ms = started_ms;
ALTER TABLE score_minutes ADD COLUMN generation INTEGER NOT NULL DEFAULT 0; -- that judged last; 0: none, or not known
ALTER TABLE score_minutes ADD COLUMN low_line REAL;      -- of that generation, in the score's unit; NULL: it has none
ALTER TABLE score_minutes ADD COLUMN compared INTEGER NOT NULL DEFAULT 0; -- disjoint windows, with that line
ALTER TABLE score_minutes ADD COLUMN above INTEGER NOT NULL DEFAULT 0;    -- how many of them lay above it
"""
# Schema 10: minutes rolled up by hour and by day, for ten years; each belongs to the generation that judged it.
_ROLL_UPS = """
ALTER TABLE score_minutes ADD COLUMN exceeding INTEGER; -- windows above the threshold; NULL: before this was counted
UPDATE score_minutes SET generation = coalesce((SELECT max(number) FROM generations g
  WHERE g.machine = score_minutes.machine AND g.threshold = score_minutes.threshold), 0);
CREATE TABLE score_rollups (
  machine TEXT NOT NULL,
  period_s INTEGER NOT NULL,         -- 3600 or 86400, from the full UTC hour or midnight
  start_ms INTEGER NOT NULL,
  generation INTEGER NOT NULL,       -- as above; scores of two generations do not compare
  windows INTEGER NOT NULL,
  exceeding INTEGER,
  faults INTEGER NOT NULL,
  score_min REAL,                    -- of the minutes' means
  score_mean REAL,                   -- of the windows
  score_median REAL,                 -- of the minutes' means; of a day: of its hours' medians
  score_max REAL,                    -- of the windows
  threshold REAL,                    -- the last one
  level_dbfs_mean REAL,
  PRIMARY KEY (machine, period_s, start_ms, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollups_due (           -- hours of which a minute was written since they were rolled up
  machine TEXT NOT NULL,
  hour_ms INTEGER NOT NULL,
  PRIMARY KEY (machine, hour_ms)
) STRICT, WITHOUT ROWID;
INSERT INTO rollups_due SELECT DISTINCT machine, minute_ms - minute_ms % 3600000 FROM score_minutes
  WHERE minute_ms >= 1700000000000;  -- before, a clock was not set: such minutes tell no age
"""
# Schema 11: how many normals a window is compared with; before, those were all.
_CORESET = """
ALTER TABLE generations ADD COLUMN max_normals INTEGER; -- NULL: all
"""
_STEPS = (
    _SCHEMA,
    _EXPLANATIONS,
    _LEAVE,
    _LENGTH,
    _KINDS,
    _SCORER,
    _PIECES,
    _STANDSTILL,
    _CONDITION,
    _ROLL_UPS,
    _CORESET,
)  # step i leads from schema i to i + 1


def version_of(connection: sqlite3.Connection) -> int:
    """Return a database's schema version; 0: it has no tables yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def require_known(connection: sqlite3.Connection, where: str) -> int:
    """Return a database's schema version. Raises StorageError when it comes from a newer program."""
    found = version_of(connection)
    if found > SCHEMA_VERSION:
        raise StorageError(
            f"written by a newer edge-monitor (schema {found}, this one knows {SCHEMA_VERSION})",
            where=where,
            hint="upgrade edge-monitor",
        )
    return found


def migrate(connection: sqlite3.Connection, version: int = SCHEMA_VERSION) -> None:
    """Bring a database to schema `version`, inside the caller's transaction. Newer ones are left alone."""
    found = version_of(connection)
    for step in _STEPS[found:version]:
        for statement in _statements(step):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={max(found, version)}")


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit the surrounding transaction."""
    lines = (line.partition("--")[0] for line in script.splitlines())
    yield from (part for part in "\n".join(lines).split(";") if part.strip())
