"""What else a box does while its machines alarm: each operation with its input, its command and what it must leave."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.store.database import FILE_NAME
from tests.soak.alarming import QUIET, RETENTION_DAYS

if TYPE_CHECKING:
    from tests.product import Product

DAY_MS = 86_400_000
DIMENSION = 304  # of the spectral bundle's vectors
PICTURE_BYTES, DESCRIPTORS_BYTES = 5000, 2000  # of a window of the simulated pump
NAMES = ("retention", "doctor", "inhibit", "import", "generations build", "enrolment", "backup")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to do; a generation of 40,000 normals takes long to calibrate, so that is the long form's."""

    imported: int = 1500  # normals in the portable file
    enrolled: int = 1440  # windows of 10 s of the recording: four hours
    forgotten: int = 10_000  # alarms that are too old
    patience_s: float = 40.0  # for one operation, seconds

    @classmethod
    def from_environment(cls) -> Sizes:
        """Return the long form's with EDGE_MONITOR_SOAK_SIZES=full: 40,000 normals, 24 hours."""
        full = os.environ.get("EDGE_MONITOR_SOAK_SIZES") == "full"
        return cls(imported=40_000, enrolled=8640, patience_s=14_400.0) if full else cls()


class Operation(ABC):
    """One operation on a node: `prepare` its input, run `argv`, and again if it was interrupted, until not `undone`."""

    good: tuple[int, ...] = (0,)  # exit codes
    alone = False  # its input is written into the database: the daemon must not run

    def __init__(self, product: Product, sizes: Sizes) -> None:
        self.product = product
        self.sizes = sizes

    def prepare(self, number: int) -> None:  # noqa: B027 - most need none
        """Make its input, the `number`-th of its kind."""

    @abstractmethod
    def argv(self) -> list[str]:
        """Return its command line; empty: the daemon begins it by itself, soon after its start."""

    def half_done(self) -> str:
        """Return what an interruption left half done, as the product itself shows it; the daemon runs."""
        return ""

    def undone(self) -> str:
        """Return what is missing of its result."""
        return ""


class Retention(Operation):
    """Forgets old alarms, with their windows and explanations."""

    alone = True

    def prepare(self, number: int) -> None:
        """Write old alarms straight into the database."""
        add_old_alarms(self.product.state / FILE_NAME, self.sizes.forgotten, number)

    def argv(self) -> list[str]:
        """Return nothing: the daemon does it."""
        return []

    def undone(self) -> str:
        """Return how many are left."""
        left = self.product.rows("SELECT count(*) FROM alarms WHERE alarm_id LIKE 'old-%'")[0][0]
        return f"{left} old alarms are left" if left else ""


class Doctor(Operation):
    """Looks at everything."""

    good = (0, 1)  # it is no failure of doctor's to find one

    def argv(self) -> list[str]:
        """Return `doctor --json`; its exit code is 1 when a check fails."""
        return self.product.argv("doctor", "--json")


class Inhibit(Operation):
    """Inhibits the quiet machine's alarms."""

    def argv(self) -> list[str]:
        """Return `inhibit`."""
        return self.product.argv("inhibit", "--machine", QUIET, "--minutes", "5")

    def undone(self) -> str:
        """Return whether the inhibition is not stored."""
        inhibited = [row[0] for row in self.product.rows("SELECT machine FROM inhibitions")]
        return "" if inhibited == [QUIET] else f"inhibited: {inhibited}"


class _Normals(Operation):
    """Brings in recordings whose names begin so."""

    def __init__(self, product: Product, sizes: Sizes) -> None:
        super().__init__(product, sizes)
        self.wanted: dict[str, int] = {}  # normals of each recording

    def found(self) -> dict[str, int]:
        """Return how many normals of each recording the product says are in use."""
        listed = self.product.answer("normals list", "--machine", QUIET)
        return {each["name"]: each["normals"] for each in listed if each["name"] in self.wanted and each["normals"]}

    def half_done(self) -> str:
        """Return the recordings that are in use in part."""
        found = self.found()
        parts = {name: count for name, count in found.items() if count != self.wanted[name]}
        return f"of {self.wanted} only {parts} are in use" if parts else ""

    def undone(self) -> str:
        """Return the recordings that are not there."""
        found = self.found()
        return "" if found == self.wanted else f"{found} are in use instead of {self.wanted}"


class Import(_Normals):
    """Imports a portable file of one recording."""

    def prepare(self, number: int) -> None:
        """Write the file."""
        name = f"imported {number}"
        self.wanted[name] = self.sizes.imported
        self._path = self.product.folder / f"normals-{number}"
        bundle = self.product.rows("SELECT bundle_hash FROM normals LIMIT 1")[0][0]
        write_normals(self._path, name, self.sizes.imported, number, bundle)

    def argv(self) -> list[str]:
        """Return `normals import`."""
        return self.product.argv("normals import", "--machine", QUIET, str(self._path))


class Enrolment(_Normals):
    """Enrols one long recording."""

    def prepare(self, number: int) -> None:
        """Choose its length."""
        self._number, self._windows = number, self.sizes.enrolled
        self.wanted[f"recording {number}.wav"] = self.sizes.enrolled

    def argv(self) -> list[str]:
        """Return what adds it as `enroll` does."""
        script = str(Path(__file__).parent / "adding.py")
        return [sys.executable, script, str(self.product.config), QUIET, str(self._windows), str(self._number)]


class Build(Operation):
    """Builds the next generation."""

    def argv(self) -> list[str]:
        """Return `generations build`."""
        return self.product.argv("generations build", "--machine", QUIET)

    def half_done(self) -> str:
        """Return whether there is not exactly one active generation, of all its members."""
        active = [each for each in self.product.answer("generations list", "--machine", QUIET) if each["active"]]
        return "" if len(active) == 1 and active[0]["normals"] else f"active: {active}"


class Backup(Operation):
    """Backs up what is learnt."""

    def prepare(self, number: int) -> None:
        """Choose a file; before the daemon's first start, see to it that there is something to copy."""
        self._path = self.product.folder / f"{number}.backup"
        if number == 0 and not self.product.listening():
            learning = Enrolment(self.product, self.sizes)
            learning.prepare(0)
            subprocess.run(learning.argv(), check=True, capture_output=True, timeout=self.sizes.patience_s)

    def argv(self) -> list[str]:
        """Return `backup`."""
        return self.product.argv("backup", str(self._path), "--force")

    def half_done(self) -> str:
        """Return what is wrong with the file, if there is one."""
        return self.undone() if self._path.exists() else ""

    def undone(self) -> str:
        """Return what `restore` says against the file, but for the table that the tests' own ledger has in it."""
        done = self.product.command("restore", str(self._path), "--force", "--dry-run")
        return done.stderr if done.returncode and "ledger" not in done.stderr else ""


def operation(name: str, product: Product, sizes: Sizes) -> Operation:
    """Return the operation of this name on a node."""
    kinds: dict[str, type[Operation]] = dict(
        zip(NAMES, (Retention, Doctor, Inhibit, Import, Build, Enrolment, Backup), strict=True)
    )
    return kinds[name](product, sizes)


def add_old_alarms(database: Path, count: int, seed: int) -> None:
    """Write ended alarms into a database, older than the retention, with windows and explanations."""
    random = np.random.default_rng(seed)
    with closing(sqlite3.connect(database)) as connection, connection:
        bundle = connection.execute("SELECT bundle_hash FROM normals LIMIT 1").fetchone()[0]
        newest_ms = connection.execute("SELECT max(added_ms) FROM recordings").fetchone()[0]
        began_ms = newest_ms - round(2 * RETENTION_DAYS * DAY_MS)
        ids = [f"old-{seed}-{number:06d}" for number in range(count)]
        connection.executemany(
            "INSERT INTO alarms (alarm_id, machine, started_ms, ended_ms, last_seq, peak_score, peak_ratio, threshold,"
            " generation, level_dbfs, window_start_s, window_end_s, neighbours) VALUES (?, ?, ?, ?, 1, 2.0, 2.0, 1.0,"
            " 1, -30.0, 0.0, 10.0, '[]')",
            ((each, QUIET, began_ms + number, began_ms + number + 1) for number, each in enumerate(ids)),
        )
        connection.executemany(
            "INSERT INTO alarm_windows (alarm_id, number, level_dbfs, bundle_hash, vector) VALUES (?, 0, -30.0, ?, ?)",
            ((each, bundle, random.bytes(4 * DIMENSION)) for each in ids),
        )
        connection.executemany(
            "INSERT INTO explanations (alarm_id, seq, method, created_ms, finished_ms, text, acoustics)"
            " VALUES (?, 1, 'measured', 0, 0, 'louder', ?)",
            ((each, "." * DESCRIPTORS_BYTES) for each in ids),
        )


def write_normals(path: Path, name: str, count: int, seed: int, bundle_hash: str) -> None:
    """Write a portable file as memory/portable.py reads it: random normals of one recording."""
    random = np.random.default_rng(seed)
    windows: list[dict[str, Any]] = [
        {
            "block": number // 3,
            "start_s": number * 10.0,
            "level_dbfs": -30.0,
            "mode": None,
            "descriptors": json.dumps({"quietest_dbfs": -35.0, "acoustics": {"made up": "." * DESCRIPTORS_BYTES}}),
            "recording": 1,
            "picture_bytes": PICTURE_BYTES,
        }
        for number in range(count)
    ]
    recording = {"id": 1, "name": name, "sha256": f"{seed + 1_000_000:064x}", "seconds": 10.0 * count, "added_ms": 0}
    about = {
        "format": "edge-monitor normals 1",
        "machine": QUIET,
        "bundle_hash": bundle_hash,
        "recordings": [recording],
        "windows": windows,
    }
    parts = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "vectors": random.normal(size=(count, DIMENSION)).astype("<f4"),
        "pictures": np.frombuffer(random.bytes(count * PICTURE_BYTES), dtype=np.uint8),
    }
    digest = hashlib.sha256()
    for part, array in parts.items():
        digest.update(f"{part} {array.dtype.str} {array.shape}|".encode())
        digest.update(array.tobytes())
    checksum = np.frombuffer(digest.digest(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, checksum=checksum, **parts)
