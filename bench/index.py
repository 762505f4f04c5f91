"""Query time and score error of the HNSW index beside exact search; prints a Markdown table.

Run `python -m bench.index` (1k and 10k vectors), `--large` adds 100k. One thread. The vectors are hard ones: isotropic
noise, in which every distance is alike, and a mixture of machine states, which is closer to sound.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from bench.pairs import in_turns
from bench.rows import NotMeasuredError, Row, cost_row
from edge_monitor.memory.distance import K, scores
from edge_monitor.memory.index import ExactIndex, HnswIndex, Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 256
QUERIES = 1000


def noise(count: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Return isotropic Gaussian vectors, (count, 256) float32."""
    return np.asarray(draw.standard_normal((count, DIM)), dtype=np.float32)


def states(count: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Return 20 drifting machine states of 8 intrinsic dimensions plus measurement noise, (count, 256) float32."""
    fixed = np.random.default_rng(7)
    centres, axes = fixed.standard_normal((20, DIM)), fixed.standard_normal((8, DIM))
    drift = draw.standard_normal((count, 8)) @ axes / np.sqrt(8)
    measured = 0.3 * draw.standard_normal((count, DIM))
    return np.asarray(centres[draw.integers(20, size=count)] + drift + measured, dtype=np.float32)


def times_ms(index: Index, queries: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each query's time in milliseconds and its score, both (q,)."""
    taken, found = np.empty(len(queries)), np.empty(len(queries))
    for i, query in enumerate(queries):
        begin = time.perf_counter()
        found[i] = index.query(query, K).distance.mean()
        taken[i] = 1000 * (time.perf_counter() - begin)
    return taken, found


def measure(seconds: float) -> list[Row]:
    """Return HNSW's rows beside exact search, each query answered by both."""
    return [beside_exact(size, seconds / 2.0) for size in (1_000, 10_000)]


def beside_exact(size: int, seconds: float) -> Row:
    """Return the row of so many vectors of machine states."""
    draw = np.random.default_rng(size)
    vectors, queries = states(size, draw), states(QUERIES, draw)
    built, exact = HnswIndex.build(vectors, K), ExactIndex(vectors)
    if built is None:
        raise NotMeasuredError("no graph within 1 % of exact search")
    turn = iter(range(2 * QUERIES))  # both works take one query before the next

    def search(index: Index) -> None:
        index.query(queries[next(turn) // 2], K)

    taken = in_turns(lambda: search(built), lambda: search(exact), seconds=seconds, most=QUERIES - 1)
    error = max(
        abs(built.query(query, K).distance.mean() / scores(query[None], vectors, K)[0] - 1) for query in queries
    )
    what, note = f"HNSW search, {size} x {DIM}", f"ef {built.ef}, largest score error {error:.1e}"
    return cost_row(what, taken[:, 0], "exact search", taken[:, 1], unit="ms", scale=1e3, note=note)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="also 100k vectors")
    sizes = [1_000, 10_000] + ([100_000] if parser.parse_args().large else [])
    print("| vectors x 256 | kind | build s | ef | HNSW p50 ms | p99 ms | error mean | max | exact p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, make in (("states", states), ("noise", noise)):
        for size in sizes:
            draw = np.random.default_rng(size)
            vectors, queries = make(size, draw), make(QUERIES, draw)
            begin = time.perf_counter()
            built = HnswIndex.build(vectors, K)
            build_s = time.perf_counter() - begin
            exact_ms, _ = times_ms(ExactIndex(vectors), queries[:100])
            exact = f"{np.median(exact_ms):.3f} | {np.percentile(exact_ms, 99):.3f}"
            if built is None:
                print(f"| {size} | {kind} | {build_s:.1f} | none | - | - | - | - | {exact} |")
                continue
            hnsw_ms, found = times_ms(built, queries)
            truth = scores(queries, vectors, K)
            error = np.abs(found - truth) / truth
            print(
                f"| {size} | {kind} | {build_s:.1f} | {built.ef} | {np.median(hnsw_ms):.3f} | "
                f"{np.percentile(hnsw_ms, 99):.3f} | {error.mean():.2e} | {error.max():.2e} | {exact} |"
            )


if __name__ == "__main__":
    main()
