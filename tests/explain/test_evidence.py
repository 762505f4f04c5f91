"""Evidence is written whole, stays in its folder and within its caps."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image
from structlog.testing import capture_logs

from edge_monitor.config.settings import RetentionSettings
from edge_monitor.errors import StorageError
from edge_monitor.explain.evidence import EvidenceStore
from edge_monitor.explain.picture import Panel, draw
from edge_monitor.explain.spectrogram import compact, expand
from edge_monitor.records import AlarmEvent, EventKind, Neighbour

if TYPE_CHECKING:
    from pathlib import Path

ALARM = AlarmEvent(
    machine="pump-3",
    alarm_id="6f1c1f0e-6f0c-4a43-9a4e-0d9a4c8b7a01",
    seq=0,
    kind=EventKind.START,
    at_s=120.0,
    at_ms=1_769_847_300_000,
    since_ms=1_769_847_300_000,
    score=12.4,
    peak_score=12.4,
    peak_ratio=1.8,
    threshold=6.8,
    generation=3,
    level_dbfs=-31.2,
    neighbours=(Neighbour(7, 3.1, "normal_4.flac", 20.0),),
    window_start_s=110.0,
    window_end_s=120.0,
    reason="3 of 5",
)


def noise(seed: int, seconds: float = 10.0, rate_hz: int = 16_000) -> np.ndarray:
    """Return white noise at -26 dBFS."""
    return np.random.default_rng(seed).normal(0, 0.05, int(seconds * rate_hz)).astype(np.float32)


def store(folder: Path, **retention: float) -> EvidenceStore:
    """Return a store whose caps are generous unless given."""
    return EvidenceStore(folder, RetentionSettings.model_validate({"free_mb": 0, **retention}))


def numbered(number: int) -> AlarmEvent:
    """Return an alarm of its own."""
    return replace(ALARM, alarm_id=f"00000000-0000-4000-8000-{number:012d}")


def test_a_picture_is_a_small_png_named_after_its_alarm(tmp_path: Path) -> None:
    """Ten seconds of noise, the picture hardest to compress, stay below 150 kB."""
    name = store(tmp_path).write_picture(ALARM, "Pump", compact(noise(1), 16_000), compact(noise(2), 16_000))
    assert name == "pump-3/6f1c1f0e-6f0c-4a43-9a4e-0d9a4c8b7a01.png"
    picture = tmp_path / name
    assert picture.stat().st_size < 150_000
    with Image.open(picture) as image:
        assert image.size == (1200, 480)
    assert [path.name for path in (tmp_path / "pump-3").iterdir()] == [picture.name]


def pixels(png: bytes) -> np.ndarray:
    """Return a picture as (rows, columns, 3)."""
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_same_sound_on_both_sides_shows_no_change_and_a_louder_band_does() -> None:
    """The bars of the change are red where the anomaly is louder, and absent where nothing changed."""
    normal = noise(1)
    tone = (0.2 * np.sin(2 * np.pi * 2000 * np.arange(160_000) / 16_000)).astype(np.float32)
    quiet, loud = (Panel("x", expand(compact(samples, 16_000))) for samples in (normal, normal + tone))
    plain = pixels(draw("t", "s", quiet, quiet))[110:420, 940:1080]
    changed = pixels(draw("t", "s", loud, quiet))[110:420, 940:1080]
    red = np.array([196, 60, 48])
    assert not (np.abs(plain - red).sum(axis=2) < 20).any()
    rows = np.flatnonzero((np.abs(changed - red).sum(axis=2) < 20).any(axis=1))
    assert 130 < rows.mean() < 180  # 2 kHz is at 53 % of a mel axis of 20 Hz to 8 kHz, from below


@pytest.mark.parametrize("title", ["Kühlpumpe", "冷却ポンプ", "a" * 500, "", "two\nlines \udcff"])
def test_any_title_can_be_drawn(tmp_path: Path, title: str) -> None:
    """A display name in any script gives a picture, also without a normal beside it."""
    stored = compact(noise(1, 1.0), 16_000)
    assert store(tmp_path).write_picture(ALARM, title, stored, None).endswith(".png")


def test_the_sound_is_kept_at_its_own_rate(tmp_path: Path) -> None:
    """The FLAC holds the samples to 24 bits."""
    samples = noise(1, 2.0, 48_000)
    name = store(tmp_path).write_audio(ALARM, samples, 48_000)
    kept, rate_hz = soundfile.read(tmp_path / name, dtype="float32")
    assert rate_hz == 48_000
    assert np.abs(kept - samples).max() < 2**-23


@pytest.mark.parametrize(
    "event",
    [
        replace(ALARM, machine=".."),
        replace(ALARM, machine="a/b"),
        replace(ALARM, machine=""),
        replace(ALARM, alarm_id="../../etc/passwd"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, event: AlarmEvent) -> None:
    """Neither machine nor alarm id can leave the folder."""
    folder = tmp_path / "evidence"
    with pytest.raises(StorageError):
        store(folder).write_audio(event, noise(1, 0.1), 16_000)
    assert not folder.exists()


def test_a_link_in_place_of_a_machines_folder_is_refused(tmp_path: Path) -> None:
    """Nothing is written, counted or deleted through a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.png").write_bytes(b"x" * 3_000_000)
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "pump-3").symlink_to(outside)
    kept = store(folder, evidence_max_mb=1)
    with pytest.raises(StorageError, match="cannot be written"):
        kept.write_audio(ALARM, noise(1, 0.1), 16_000)
    assert kept.enforce().files == 0
    assert [path.name for path in (outside).iterdir()] == ["precious.png"]


def test_a_link_in_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    """The file a link points to is not touched."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    link = tmp_path / "evidence/pump-3" / f"{ALARM.alarm_id}.flac"
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    store(tmp_path / "evidence").write_audio(ALARM, noise(1, 0.1), 16_000)
    assert precious.read_text() == "mine"
    assert not link.is_symlink()


def test_the_oldest_alarms_go_first_with_all_their_files_and_the_log_says_so(tmp_path: Path) -> None:
    """At the size cap picture and sound of the oldest alarm are deleted together, and counted."""
    kept = store(tmp_path)
    now = time.time()
    for number in range(4):
        audio = tmp_path / kept.write_audio(numbered(number), noise(number, 5.0), 16_000)  # about 200 kB
        sidecar = audio.with_suffix(".png")
        sidecar.write_bytes(b"p" * 100_000)
        for path in (audio, sidecar):
            os.utime(path, (now - 100 + number, now - 100 + number))
    with capture_logs() as logs:
        tally = store(tmp_path, evidence_max_mb=1).enforce()
    assert tally.alarms == 1
    assert tally.files == 2
    assert tally.kept_bytes <= 1_000_000
    assert {path.stem[-1] for path in tmp_path.glob("*/*")} == {"1", "2", "3"}
    assert [(line["event"], line["files"]) for line in logs] == [("explain.evidence_removed", 2)]


def test_evidence_past_its_age_is_deleted_and_a_clock_of_1970_deletes_nothing(tmp_path: Path) -> None:
    """A file of ten days ago goes at a cap of five; one written before the clock was set stays."""
    kept = store(tmp_path)
    for number, written_s in ((1, time.time() - 10 * 86_400), (2, 60.0), (3, time.time())):
        path = tmp_path / kept.write_audio(numbered(number), noise(1, 0.1), 16_000)
        os.utime(path, (written_s, written_s))
    assert store(tmp_path, evidence_days=5).enforce().alarms == 1
    assert {path.stem[-1] for path in tmp_path.glob("*/*")} == {"2", "3"}


def test_a_full_disk_refuses_with_the_figure(tmp_path: Path) -> None:
    """Below the free space that must stay nothing is written."""
    with pytest.raises(StorageError, match=r"MB free .*retention.free_mb = 1000000000"):
        store(tmp_path, free_mb=1_000_000_000).write_audio(ALARM, noise(1, 0.1), 16_000)
    assert not list(tmp_path.glob("*/*"))


def test_what_a_crash_left_unfinished_is_cleaned_up(tmp_path: Path) -> None:
    """A temporary file of two hours ago goes, a fresh one is left to its writer."""
    folder = tmp_path / "pump-3"
    folder.mkdir()
    for name, age_s in (("old.tmp", 7200), ("new.tmp", 1)):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (time.time() - age_s, time.time() - age_s))
    store(tmp_path).enforce()
    assert [path.name for path in (folder).iterdir()] == ["new.tmp"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """The refusal names the file and the cause."""
    (tmp_path / "evidence").write_text("a file in the folder's place")
    with pytest.raises(StorageError, match=r"evidence/pump-3/.*\.flac: evidence cannot be written: File exists"):
        store(tmp_path / "evidence").write_audio(ALARM, noise(1, 0.1), 16_000)
