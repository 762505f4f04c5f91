"""What a window and a fit cost by the default scorer, with the coreset and compared with all normals.

`python -m bench.coreset` prints a Markdown table for 1,000, 10,000 and 100,000 normals; `--calibration` adds the time
that a whole calibration takes, `--exact` compares with all 100,000 as well (minutes). One thread. Memory is what a fit
takes at most beside the vectors themselves.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.index import states
from bench.pairs import in_turns
from bench.rows import cost_row
from edge_monitor.memory.distance import K
from edge_monitor.memory.leaveout import Layout, block_of, leave_block_out
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.rows import Row
    from edge_monitor.memory.scoring_methods import Scorer

SIZES = (1_000, 10_000, 100_000)
MOST_EXACT = 10_000  # beyond, fitting without a coreset takes minutes
CORESET = MetricSpec("standardized-euclidean", floor=0.35, bands=128, scorer="sub-band-density")
ALL = MetricSpec("standardized-euclidean", floor=0.35, bands=128, scorer="sub-band-density", max_normals=None)
WINDOW_S = 10.0
RECORDED_S = 3600.0  # live sound comes in recordings of an hour


@dataclass(frozen=True, slots=True)
class Cost:
    """Of so many normals."""

    window_ms: float  # median of 50
    fit_s: float
    fit_mb: float  # most memory beside the vectors themselves


def cost(vectors: NDArray[np.float32], spec: MetricSpec) -> Cost:
    """Return what comparing with n normals, (n, dim), costs."""
    begin = time.perf_counter()
    scorer = fit(None, vectors, spec)
    fit_s = time.perf_counter() - begin
    tracemalloc.start()
    fit(None, vectors, spec)
    fit_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    (window_s,) = in_turns(lambda: _window(scorer, vectors), seconds=2.0, most=50).T
    return Cost(1e3 * float(np.median(window_s)), fit_s, fit_mb)


def _window(scorer: Scorer, vectors: NDArray[np.float32]) -> None:
    scorer.scores(vectors[:1] + 0.5)


def calibration_s(vectors: NDArray[np.float32], spec: MetricSpec) -> float:
    """Return how long it takes to score each of n normals, (n, dim), without its block."""
    recording, start_s = np.divmod(np.arange(len(vectors)) * WINDOW_S, RECORDED_S)
    layout = Layout(recording.astype(np.int64), np.array([block_of(each) for each in start_s]), start_s)
    begin = time.perf_counter()
    leave_block_out(vectors, layout, spec, k=K, window_s=WINDOW_S)
    return time.perf_counter() - begin


def measure(seconds: float) -> list[Row]:
    """Return the rows of a window and a fit: 10,000 normals beside comparing with all, 100,000 beside 10,000."""
    few, many = (states(size, np.random.default_rng(size)) for size in SIZES[1:])
    return [
        *_rows(few, "compared with all", few, ALL, seconds / 2),
        *_rows(many, f"{len(few)} normals", few, CORESET, seconds / 2),
    ]


def _rows(
    vectors: NDArray[np.float32], beside: str, others: NDArray[np.float32], spec: MetricSpec, seconds: float
) -> list[Row]:
    fits = partial(fit, None, vectors, CORESET), partial(fit, None, others, spec)
    fitted = in_turns(*fits, seconds=seconds / 2, fewest=2)
    window = in_turns(*(partial(_window, each(), others) for each in fits), seconds=seconds / 4)
    return [
        cost_row(f"{what}, {len(vectors)} normals", taken[:, 0], beside, taken[:, 1], unit=unit, scale=scale)
        for what, taken, unit, scale in (("a window", window, "ms", 1e3), ("a fit", fitted, "s", 1.0))
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibration", action="store_true", help="also a whole calibration, minutes")
    parser.add_argument("--exact", action="store_true", help="also all 100,000 without a coreset, minutes")
    options = parser.parse_args()
    print("| normals | compared with | window ms | fit s | fit MB | calibration s |\n|--:|--:|--:|--:|--:|--:|")
    for size in SIZES:
        vectors = states(size, np.random.default_rng(size))
        for spec in (ALL, CORESET):
            if spec is ALL and size > MOST_EXACT and not options.exact:
                continue
            found = cost(vectors, spec)
            compared = min(size, spec.max_normals or size)
            whole = f"{calibration_s(vectors, spec):.0f}" if options.calibration else "-"
            print(
                f"| {size} | {compared} | {found.window_ms:.2f} | {found.fit_s:.2f} | {found.fit_mb:.0f} | {whole} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
