"""What was learnt before an interrupt is not learnt again, and nothing else is taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.evaluate.cache import FeatureCache, KeptScores
from edge_monitor.evaluate.detector import Features
from tests.evaluate.loudness import Loudness
from tests.evaluate.test_measure import make, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CLIPS = [Features(np.array([[level]], dtype=np.float32)) for level in (-30.0, -29.0, -20.0, -10.0)]


def never(line: str) -> None:
    """Take no complaint."""
    raise AssertionError(line)


class Interrupted(Loudness):
    """Somebody presses Ctrl-C while it learns for the fifth time."""

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Return the scores, four times."""
        if len(self.learnt) == 4:
            raise KeyboardInterrupt
        return super().fit_score(train, test)


def test_after_an_interrupt_only_the_rest_is_learnt(tmp_path: Path) -> None:
    """The set's own split and 10 random ones: four are kept, seven are left; the figures are those of one run."""
    folder, cache = make(tmp_path / "set"), FeatureCache(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        run(folder, KeptScores(Interrupted(pooled=True), "1", cache, never), cache=cache.folder, resplits=10)
    rest, whole = Loudness(pooled=True), Loudness(pooled=True)
    figures, _ = run(folder, KeptScores(rest, "1", cache, never), cache=cache.folder, resplits=10)
    assert len(rest.learnt) == 11 - 4
    expected, _ = run(folder, whole, cache=cache.folder, resplits=10)
    assert len(whole.learnt) == 11
    assert figures.rows[0].aucs.tolist() == expected.rows[0].aucs.tolist()
    assert figures.rows[0].paucs.tolist() == expected.rows[0].paucs.tolist()


def test_scores_that_cannot_be_kept_are_given_all_the_same(tmp_path: Path) -> None:
    """A file stands where the cache's folder would be: every split is learnt, and one line says why none is kept."""
    folder, cache, said = make(tmp_path / "set"), FeatureCache(tmp_path / "cache"), list[str]()
    (tmp_path / "cache").write_text("in the way")
    detector = Loudness(pooled=True)
    figures, _ = run(folder, KeptScores(detector, "1", cache, said.append), cache=tmp_path / "heard", resplits=3)
    assert len(detector.learnt) == 4
    assert figures.rows
    assert len(said) == 1
    assert "its scores are not kept" in said[0]


def test_other_clips_another_order_or_another_version_are_learnt_anew(tmp_path: Path) -> None:
    """A network depends on the order of what it learns, and on its seed."""
    a, b, c, d = CLIPS
    cache, detector = FeatureCache(tmp_path), Loudness()
    kept = KeptScores(detector, "1, seed 0", cache, never)
    assert kept.fit_score([a, b], [c, d]).tolist() == kept.fit_score([a, b], [c, d]).tolist() == [9.5, 19.5]
    assert len(detector.learnt) == 1
    for train, test in (([b, a], [c, d]), ([a, b], [d, c]), ([a, b, c], [d]), ([a, b], [c])):
        kept.fit_score(train, test)
    assert len(detector.learnt) == 5
    KeptScores(detector, "1, seed 1", cache, never).fit_score([a, b], [c, d])
    assert len(detector.learnt) == 6


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x00" * 400])
def test_damaged_scores_are_learnt_anew(tmp_path: Path, damage: bytes) -> None:
    """And replaced."""
    detector = Loudness()
    kept = KeptScores(detector, "1", FeatureCache(tmp_path), never)
    kept.fit_score(CLIPS[:2], CLIPS[2:])
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(damage)
    assert kept.fit_score(CLIPS[:2], CLIPS[2:]).tolist() == [9.5, 19.5]
    kept.fit_score(CLIPS[:2], CLIPS[2:])
    assert len(detector.learnt) == 2
