"""Beam search over a decoder's offers, as MS-CLAP does it: pure, without a model.

Source: `CLAPWrapper._generate_beam` of msclap 1.3.4. Its ways are kept, the odd ones too, so that captions are equal
token for token: see STOP_TOKEN and `_Beams.advance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BEAMS = 5  # msclap's beam_size
MOST_TOKENS = 67  # msclap's entry_length
# The first token of " <|endoftext|>" is the space, and msclap stops there; 50256 itself stops nothing.
STOP_TOKEN = 220
_FILLER = 0  # what a stopped beam goes on with, at no cost; cut off at the end


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """The likeliest next tokens of each beam, at least BEAMS of them, the likeliest first."""

    tokens: NDArray[np.int64]  # (beam, choice)
    log_probs: NDArray[np.float32]  # (beam, choice), <= 0, descending


@dataclass(frozen=True, slots=True, eq=False)
class Continuation:
    """How the beams of one caption go on: beam i continues its former beam `sources[i]` with `tokens[i]`."""

    caption: int  # which of those that are decoded together
    tokens: NDArray[np.int64]  # (beam,)
    sources: NDArray[np.int64]  # (beam,)


class Decoding(Protocol):
    """Captions in the making: a language model that has read a prefix of each and continues several beams of each."""

    def start(self) -> list[Offers]:
        """Return what may follow each caption's prefix, (1, choice). Called once, first."""
        ...

    def step(self, continuations: Sequence[Continuation]) -> list[Offers]:
        """Return what may follow each continuation. A caption that is not among them has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Caption:
    """The tokens of the best beam and how likely they are."""

    tokens: tuple[int, ...]  # without the fillers; the stop token, if it came, is the last
    score: float  # mean log-probability of a token, <= 0, higher = likelier


class _Beams:
    """The state of the search: what each beam has written, its score, whether it has stopped. float32 as in msclap."""

    def __init__(self, first: Offers, beams: int, stop_token: int) -> None:
        self._stop_token = stop_token
        self.tokens = first.tokens[0, :beams, None]  # (beam, length)
        self._scores = first.log_probs[0, :beams].astype(np.float32)  # sums of log-probabilities
        self._lengths = np.ones(beams, dtype=np.float32)  # tokens up to and with the stop token
        self._stopped = self.tokens[:, 0] == stop_token
        self.sources = np.zeros(beams, dtype=np.int64)  # all of them continue the prefix

    @property
    def done(self) -> bool:
        """Return whether every beam has stopped."""
        return bool(self._stopped.all())

    def advance(self, offers: Offers) -> None:
        """Keep the best continuations of all beams, by the mean log-probability of their tokens."""
        beams, choices = offers.tokens.shape
        tokens, log_probs = offers.tokens.copy(), offers.log_probs.astype(np.float32)
        tokens[self._stopped] = _FILLER
        log_probs[self._stopped] = -np.inf
        log_probs[self._stopped, 0] = 0.0
        self._lengths[~self._stopped] += 1
        means = (self._scores[:, None] + log_probs) / self._lengths[:, None]  # (beam, choice)
        best = np.argsort(-means, axis=None, kind="stable")[:beams]
        self.sources, choice = np.divmod(best, choices)
        self._lengths = self._lengths[self.sources]
        following = tokens[self.sources, choice]
        self.tokens = np.concatenate([self.tokens[self.sources], following[:, None]], axis=1)
        self._scores = means[self.sources, choice] * self._lengths
        self._stopped = self._stopped[self.sources] | (following == self._stop_token)

    def best(self) -> Caption:
        """Return the beam of the highest mean, without its fillers."""
        means = self._scores / self._lengths
        winner = int(np.argmax(means))
        length = int(self._lengths[winner])
        return Caption(tuple(self.tokens[winner, :length].tolist()), float(means[winner]))


def search(
    decoding: Decoding, *, beams: int = BEAMS, most_tokens: int = MOST_TOKENS, stop_token: int = STOP_TOKEN
) -> list[Caption]:
    """Return the best caption of at most `most_tokens` (>= 1) tokens for each prefix, as if searched one by one."""
    states = [_Beams(first, beams, stop_token) for first in decoding.start()]
    for _ in range(most_tokens - 1):
        going = {caption: state for caption, state in enumerate(states) if not state.done}
        if not going:
            break
        steps = [Continuation(caption, state.tokens[:, -1], state.sources) for caption, state in going.items()]
        for state, offers in zip(going.values(), decoding.step(steps), strict=True):
            state.advance(offers)
    return [state.best() for state in states]
