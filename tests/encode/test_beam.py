"""The beam search chooses what msclap's own would."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.beam import Offers, search
from tests.encode.toy_decoder import (
    CASES,
    RECORDED,
    STOP,
    Toy,
    ToyDecoding,
    most_tokens,
    offers_of,
    prefix,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.encode.beam import Continuation

# At its 62nd token two continuations are exactly equal in float32; which one torch's top-k keeps is not defined.
TIED = 1011


def test_it_equals_msclap_token_for_token() -> None:
    """1,199 seeded searches, stopped early or not, end in the very tokens that msclap's code chose."""
    recorded = RECORDED.read_text("ascii").splitlines()
    assert len(recorded) == CASES == 1200
    for seed, expected in enumerate(recorded):
        if seed == TIED:
            continue
        decoding = ToyDecoding([Toy(seed)], [prefix(seed)])
        (found,) = search(decoding, most_tokens=most_tokens(seed), stop_token=STOP)
        assert written(found.tokens) == expected, f"case {seed}"
    lengths = [len(line) for line in recorded]
    assert (lengths.count(67), sum(line.endswith("s") for line in recorded)) == (301, 549)


def test_searches_in_lockstep_end_as_they_would_alone() -> None:
    """Forty captions of one decoding, each with the tokens of msclap's own; who has stopped is not asked again."""
    recorded = RECORDED.read_text("ascii").splitlines()
    seeds = [seed for seed in range(CASES) if most_tokens(seed) == 67][:40]
    decoding = ToyDecoding([Toy(seed) for seed in seeds], [prefix(seed) for seed in seeds])
    found = search(decoding, stop_token=STOP)
    assert [written(caption.tokens) for caption in found] == [recorded[seed] for seed in seeds]
    going = [len(captions) for captions in decoding.asked]
    assert going[0] == 40
    assert going == sorted(going, reverse=True)
    assert len(set(going)) > 10
    assert going[-1] == 23


def offers(*rows: list[tuple[int, float]]) -> Offers:
    """Return the offers of each beam as `[(token, log_prob), …]`."""
    return Offers(
        np.array([[token for token, _ in row] for row in rows], dtype=np.int64),
        np.array([[log_prob for _, log_prob in row] for row in rows], dtype=np.float32),
    )


class Script:
    """Offers the same at each step, and remembers what it was asked."""

    def __init__(self, first: Offers, then: Offers) -> None:
        self.first, self.then = first, then
        self.asked: list[tuple[list[int], list[int]]] = []

    def start(self) -> list[Offers]:
        """Offer the first."""
        return [self.first]

    def step(self, continuations: Sequence[Continuation]) -> list[Offers]:
        """Offer the rest."""
        (only,) = continuations
        self.asked.append((only.tokens.tolist(), only.sources.tolist()))
        return [self.then]


def test_a_stopped_beam_waits_unchanged() -> None:
    """It keeps its score and its length while others go on, and wins by its mean; fillers are cut off."""
    script = Script(offers([(9, -0.5), (4, -1.0)]), offers([(5, -0.1), (6, -4.0)], [(5, -0.1), (7, -9.0)]))
    (best,) = search(script, beams=2, most_tokens=4, stop_token=9)
    assert script.asked == [([9, 4], [0, 0]), ([0, 5], [0, 1]), ([5, 0], [1, 0])]
    assert best.tokens == (4, 5, 5, 5)
    assert best.score == pytest.approx((-1.0 - 3 * 0.1) / 4)


def test_it_ends_when_every_beam_has_stopped() -> None:
    """Nothing is asked of the decoder any more."""
    script = Script(offers([(9, -0.5), (4, -1.0)]), offers([(1, -5.0), (2, -5.0)], [(9, -0.2), (7, -9.0)]))
    (best,) = search(script, beams=2, most_tokens=67, stop_token=9)
    assert best.tokens == (9,)
    assert script.asked == [([9, 4], [0, 0])]


def test_offers_are_log_probabilities_best_first() -> None:
    """Logits become the log of their softmax, sorted, one row a beam."""
    found = offers_of(np.array([[0.0, math.log(3.0), -math.inf, math.log(4.0)]], dtype=np.float32), choices=2)
    assert found.tokens.tolist() == [[3, 1]]
    np.testing.assert_allclose(found.log_probs, [[math.log(0.5), math.log(3 / 8)]], rtol=1e-6)
