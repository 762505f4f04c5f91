"""What detectors keep of clips is computed once, and nothing half-written is ever believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.errors import AudioError, DatasetError
from edge_monitor.evaluate.cache import FeatureCache, FeatureExtractor, default_cache
from edge_monitor.evaluate.datasets import Clip, read_dataset
from edge_monitor.evaluate.detector import Features
from tests.evaluate.loudness import Loudness
from tests.evaluate.sets import RATE_HZ, noise, write, write_all

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"pump/train/normal_id_00_{number:08d}.wav" for number in range(6)]
DIGEST = "ab" * 32


class Lines(list[str]):
    """What is told, line by line."""

    def __call__(self, line: str) -> None:
        """Take a line."""
        self.append(line)


def hear(folder: Path, cache: Path, *, channel: int = 1, jobs: int = 1) -> tuple[dict[str, Features], Lines, Loudness]:
    """Return the features by file name, all lines, and the detector, which counts what it hears."""
    lines = Lines()
    detector = Loudness()
    clips = read_dataset(folder).clips
    found = FeatureExtractor(FeatureCache(cache), lines, lines, channel=channel, jobs=jobs).extract(
        detector, clips, "pump"
    )
    return {path.name: features for path, features in found.items()}, lines, detector


def test_the_second_run_hears_nothing_anew(tmp_path: Path) -> None:
    """The same features come from the cache; several threads give what one gives."""
    write_all(tmp_path / "set", NAMES)
    first, lines, detector = hear(tmp_path / "set", tmp_path / "cache", jobs=4)
    assert (detector.heard, lines[-1]) == (6, "pump: loudness: 6 clips in 0 s, 0 of them from the cache")
    again, lines, detector = hear(tmp_path / "set", tmp_path / "cache")
    assert (detector.heard, lines[-1]) == (0, "pump: loudness: 6 clips in 0 s, 6 of them from the cache")
    alone, _, _ = hear(tmp_path / "set", tmp_path / "other")
    for name, features in first.items():
        assert again[name].vectors.tolist() == features.vectors.tolist() == alone[name].vectors.tolist()


def test_a_clip_is_known_by_its_content(tmp_path: Path) -> None:
    """Renamed it is still known; with other sound under the same name it is heard anew."""
    write_all(tmp_path / "set", NAMES)
    hear(tmp_path / "set", tmp_path / "cache")
    (tmp_path / "set").rename(tmp_path / "moved")
    write(tmp_path / "moved" / NAMES[0], noise(99))
    _, lines, detector = hear(tmp_path / "moved", tmp_path / "cache")
    assert (detector.heard, lines[-1]) == (1, "pump: loudness: 6 clips in 0 s, 5 of them from the cache")


def test_each_channel_is_kept_by_itself(tmp_path: Path) -> None:
    """Two microphones in one file are two sounds."""
    path = tmp_path / "set" / NAMES[0]
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.stack([noise(1), 10 * noise(1)], axis=1), RATE_HZ, subtype="FLOAT")
    left, _, _ = hear(tmp_path / "set", tmp_path / "cache", channel=1)
    right, _, detector = hear(tmp_path / "set", tmp_path / "cache", channel=2)
    assert detector.heard == 1
    assert (right[path.name].vectors - left[path.name].vectors).ravel() == pytest.approx(20.0, abs=1e-3)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x00" * 400])
def test_a_damaged_file_in_the_cache_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    """A power cut leaves files empty, cut off or full of zeros."""
    cache = FeatureCache(tmp_path)
    cache.store("key", DIGEST, Features(np.ones((2, 3), dtype=np.float32), overlaps=True))
    (path,) = tmp_path.rglob("*.npz")
    kept = cache.load("key", DIGEST)
    assert kept is not None
    assert (kept.vectors.tolist(), kept.overlaps, len(kept.to_learn)) == ([[1.0] * 3] * 2, True, 1)
    path.write_bytes(damage)
    assert cache.load("key", DIGEST) is None


def test_a_flipped_byte_in_the_cache_is_noticed(tmp_path: Path) -> None:
    """Every array has a checksum; what else is in the file may change nothing, or make it useless."""
    cache = FeatureCache(tmp_path)
    cache.store("key", DIGEST, Features(np.ones((4, 4), dtype=np.float32)))
    (path,) = tmp_path.rglob("*.npz")
    content = path.read_bytes()
    useless = 0
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x01]) + content[position + 1 :])
        kept = cache.load("key", DIGEST)
        useless += kept is None
        assert kept is None or (kept.vectors.tolist(), kept.overlaps) == ([[1.0] * 4] * 4, False)
    assert useless > len(content) // 2


def test_what_cannot_be_heard_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    """Not a sound file, silence, and a channel that is not there: one line each."""
    write_all(tmp_path / "set", NAMES)
    (tmp_path / "set" / NAMES[1]).write_bytes(b"RIFF is not enough")
    write(tmp_path / "set" / NAMES[2], np.zeros(1600, dtype=np.float32))
    found, lines, _ = hear(tmp_path / "set", tmp_path / "cache")
    assert sorted(found) == [f"normal_id_00_0000000{number}.wav" for number in (0, 3, 4, 5)]
    wrong = [line for line in lines if line.startswith("left out: ")]
    assert len(wrong) == 2
    assert wrong[0].startswith(f"left out: {tmp_path}/set/{NAMES[1]}: ")
    assert wrong[1] == f"left out: {tmp_path}/set/{NAMES[2]}: silent"
    _, lines, _ = hear(tmp_path / "set", tmp_path / "cache", channel=2)
    assert len([line for line in lines if line.startswith("left out: ")]) == 6


def test_a_cache_that_cannot_be_written_ends_it_with_a_way_out(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    write_all(tmp_path / "set", NAMES)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DatasetError, match=r"cannot be written: .* \(--cache names another folder"):
        hear(tmp_path / "set", tmp_path / "cache")


def test_the_cache_lies_where_the_system_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDG_CACHE_HOME, unless it is relative."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "edge-monitor/features"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache/edge-monitor/features"


def test_a_clip_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    """A disk that is unplugged is no traceback."""
    lines = Lines()
    clip = Clip("pump", "id_00", anomalous=False, split="train", path=tmp_path / "gone.wav")
    assert FeatureExtractor(FeatureCache(tmp_path / "cache"), lines, lines).extract(Loudness(), [clip], "pump") == {}
    assert lines[0] == f"left out: {tmp_path}/gone.wav: cannot be read: No such file or directory"


def test_loudness_refuses_silence() -> None:
    """The detector of these tests keeps the contract."""
    with pytest.raises(AudioError, match="silent"):
        Loudness().features(np.zeros(100, dtype=np.float32))
