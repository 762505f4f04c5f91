"""Mean opinion scores from ratings, as in Fig. 2 of the paper; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.evaluate.answers import Rating

INFORMATIVE = 3.0  # the paper, IV-C: above it a machine id's captions count as informative to some extent
PAPER_ABOVE = {"text-decoder": 10, "zero-shot": 8, "combination": 11}  # the paper, Fig. 2: ids above 3 …
PAPER_IDS = 23  # … of so many
_DRAWS = 2000
_SEED = 20


@dataclass(frozen=True, slots=True)
class Opinion:
    """The mean of some ratings, 1 worst … 5 best."""

    mos: float
    low: float | None  # 95 % interval; None: a single rating has none
    high: float | None
    ratings: int
    raters: int
    items: int


@dataclass(frozen=True, slots=True)
class IdOpinion:
    """What people think of one method's captions for one machine id."""

    machine: str
    machine_id: str
    method: str
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class MethodOpinion:
    """What people think of one method over all machine ids."""

    method: str
    opinion: Opinion
    ids: int
    ids_above: int  # whose mean opinion score is above INFORMATIVE


@dataclass(frozen=True, slots=True)
class Tally:
    """All ratings counted."""

    rows: tuple[IdOpinion, ...]  # by machine, id, method
    methods: tuple[MethodOpinion, ...]  # by name


def tally(ratings: Sequence[Rating]) -> Tally:
    """Return the mean opinion scores per method and machine id, and per method; empty for no ratings."""
    by_id: dict[tuple[str, str, str], list[Rating]] = defaultdict(list)
    by_method: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_id[rating.machine, rating.machine_id, rating.method].append(rating)
        by_method[rating.method].append(rating)
    rows = tuple(IdOpinion(*place, opinion_of(given)) for place, given in sorted(by_id.items()))
    methods = []
    for method, given in sorted(by_method.items()):
        of_ids = [row.opinion.mos for row in rows if row.method == method]
        methods.append(MethodOpinion(method, opinion_of(given), len(of_ids), sum(mos > INFORMATIVE for mos in of_ids)))
    return Tally(rows, tuple(methods))


def opinion_of(ratings: Sequence[Rating]) -> Opinion:
    """Return the mean of ratings and its interval: other raters and other items might have been drawn.

    Raters and items are crossed, so both are drawn anew (the pigeonhole bootstrap: Owen 2007, Annals of Applied
    Statistics 1(2)); percentiles 2.5 and 97.5 of 2000 draws. Of one rater it speaks of items only, and vice versa.
    With three raters it is a rough figure.
    """
    raters = sorted({rating.rater for rating in ratings})
    items = sorted({rating.item for rating in ratings})
    values = np.zeros((len(raters), len(items)))
    given = np.zeros((len(raters), len(items)))  # 1 where there is a rating
    for rating in ratings:
        place = raters.index(rating.rater), items.index(rating.item)
        values[place] = rating.value
        given[place] = 1.0
    mos = float(values.sum() / given.sum())
    low, high = (None, None) if len(ratings) == 1 else _interval(values, given)
    return Opinion(mos, low, high, len(ratings), len(raters), len(items))


def _interval(values: NDArray[np.float64], given: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of (rater, item) values where `given` is 1."""
    draw = np.random.default_rng(_SEED)
    raters, items = values.shape
    of_raters = draw.multinomial(raters, np.full(raters, 1.0 / raters), size=_DRAWS).astype(np.float64)  # (draw, rater)
    of_items = draw.multinomial(items, np.full(items, 1.0 / items), size=_DRAWS).astype(np.float64)  # (draw, item)
    sums = np.einsum("dr,ri,di->d", of_raters, values, of_items, optimize=True)
    counts = np.einsum("dr,ri,di->d", of_raters, given, of_items, optimize=True)
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
