"""What repeats is told first where it made the largest part of the score."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.manifest import EnvelopeBlock
from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.repetition_findings import with_repetition
from edge_monitor.pipeline.repetition import repetition_of
from edge_monitor.records import Finding, Repetition
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.product import Product

# 8 bands of equal width in mel: 16 blocks' values of each sub-band, then 2 octaves of each band
ENVELOPE = EnvelopeBlock(bands=8, low_hz=100.0, high_hz=6800.0, rates_hz=(6.0, 12.0, 24.0))
MEASURED = measure(pump(10, fault="bearing"), 16_000)  # 236 impacts a second
FOUND = Repetition((2000.0, 4000.0), (180.0, 250.0), 3.0)


def apart(*values: tuple[int, float]) -> np.ndarray:
    """Return a vector of two blocks of 32 bands and an envelope's 16 values, 0 but at these places."""
    vector = np.zeros(80)
    for place, value in values:
        vector[place] = value
    return vector


def test_the_octave_and_band_of_the_largest_rise_are_named() -> None:
    """Value 64 + 2 x 5 + 1: sixth band, 12 to 24 a second; its neighbour above rises by half as much and joins."""
    found = repetition_of(apart((75, 4.0), (77, 2.0), (73, 1.0), (20, 3.0)), 32, ENVELOPE)
    assert found is not None
    assert (found.per_s, found.deviation) == ((12.0, 24.0), 2.0)
    assert found.band_hz == pytest.approx((2465, 4505), abs=1)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([(75, 4.0), (20, 5.0)], "the maxima of the same sub-band are further away"),
        ([(75, 4.0), (0, 5.0)], "another sub-band is further away"),
        ([(75, -4.0)], "what repeated has gone"),
        ([(75, -6.0), (74, 2.9)], "it rose less than half of what another fell"),
        ([(75, 1.9)], "it does not stand out"),
    ],
)
def test_nothing_repeats_where_something_else_made_the_score(values: Sequence[tuple[int, float]], why: str) -> None:
    """Maxima, deviations, another band, or a line that is missed."""
    assert repetition_of(apart(*values), 32, ENVELOPE) is None, why


def test_a_finding_at_the_same_rate_and_band_is_told_first_and_says_so() -> None:
    """Its words stay; a multiple of its rate is its own."""
    other = Finding("tone", "a tone", 50.0, None, "Hz", 5.0, (49.0, 51.0))
    for value, hz in ((235.0, (3000.0, 5000.0)), (117.0, (1000.0, 2500.0))):
        impulses = Finding("rhythmic-impulses", "impulses at some rate", value, None, "1/s", 2.0, hz)
        first, second = with_repetition([other, impulses], MEASURED, FOUND)
        assert first.text == "the largest part of the score: impulses at some rate"
        assert second is other


def test_where_none_tells_of_it_the_measured_rate_is_added() -> None:
    """Impulses elsewhere are others; without a line in the sound, it lies somewhere in the octave."""
    elsewhere = Finding("rhythmic-impulses", "impulses", 235.0, None, "1/s", 2.0, (200.0, 400.0))
    added, kept = with_repetition([elsewhere], MEASURED, FOUND)
    assert (added.name, added.unit, added.deviation, kept) == ("repetition", "1/s", 3.0, elsewhere)
    assert added.value == pytest.approx(235.3, abs=1.0)
    assert added.text.startswith("the largest part of the score: the sound in 2-4 kHz repeats at 236 per second")
    [added] = with_repetition([], measure(pump(10), 16_000), FOUND)
    assert added.value is None
    assert added.text.endswith("repeats at 180 to 250 per second")


def test_the_product_says_what_repeats(enrolled: Callable[..., Product]) -> None:
    """Impacts 6 dB under the pump's own sound in their band, loudest once a turn: both are told, the turns first."""
    product = enrolled()
    [path] = write_clips(product.folder, "faulty", pump(10, take=5, fault="bearing", fault_db=-6.0))
    said = product.answer("explain", str(path))
    first, second = said["findings"][:2]
    assert said["text"].startswith("The largest part of the score: the sound in 3.4-6 kHz repeats at ")
    assert (first["name"], first["value"]) == ("repetition", pytest.approx(49.5, abs=0.5))  # the load zone, each turn
    assert (second["name"], second["value"]) == ("rhythmic-impulses", pytest.approx(235.3, abs=1.0))


def test_the_bundle_names_what_its_last_block_is(tmp_path: Path) -> None:
    """The octaves follow one another, and the values add up to the dimension."""
    manifest = find_bundle("spectral", base=tmp_path).manifest
    envelope = manifest.scorer.envelope
    assert envelope is not None
    assert 2 * 128 + envelope.values == manifest.audio.dim
    assert all(low < high for low, high in pairwise(envelope.rates_hz))
