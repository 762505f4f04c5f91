"""The bench suite: one Markdown table of what the product costs beside what a reader knows, within ten minutes.

    python -m bench [--seconds 590] [--only NAME …] [--export-python PATH] [--results FOLDER]

Every pair is measured in turns in one run. What cannot be measured here says why. The result is kept as JSON and
compared with the last one of the same kind of machine. The exit code is 1 when a part broke.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench import history
from bench.part import Part, run
from bench.rows import Row, markdown

PARTS = (
    Part("CLI start-up", "bench.startup", 24, 8),
    Part("install size", "bench.install_size", 1, 1),
    Part("resampling", "bench.resampling", 6, 1),
    Part("spectral encoder", "bench.encoder", 6, 1),
    Part("spectral encoder beside librosa", "bench.log_mel", 8, 5, needs_export=True),
    Part("HNSW search", "bench.index", 15, 5),
    Part("many normals", "bench.coreset", 6, 12),
    Part("MS-CLAP encoder", "bench.msclap_encoder", 20, 20, needs_export=True),
    Part("MS-CLAP captions", "bench.captioner", 85, 45, needs_export=True),
    Part("outbox throughput", "bench.outbox", 20, 2),
    Part("memory of the daemon", "bench.daemon", 10, 35),
    Part("alert latency, streams per core", "bench.load", 80, 70),
    Part("alarm's commit", "bench.commit", 8, 37),
)
MOST_S = 590.0  # ten minutes with starting and ending
EXPORT_PYTHON = history.ROOT / ".venv-export/bin/python"


def measure(parts: tuple[Part, ...], seconds: float, export_python: Path) -> tuple[list[Row], bool]:
    """Return all rows, and whether a part broke; `seconds` for everything."""
    end_s = time.monotonic() + seconds
    rows: list[Row] = []
    broken = False
    for number, part in enumerate(parts):
        left_s = end_s - time.monotonic()
        if left_s <= 0.0:
            rows.append(Row(part.title, missing="no time was left"))
            continue
        sys.stderr.write(f"bench: {part.title}\n")
        # on a busy box all may take longer, each its share of the time that is left
        limit_s = left_s * part.whole_s / sum(other.whole_s for other in parts[number:])
        found, broke = run(part, part.seconds * min(seconds / MOST_S, 1.0), limit_s, export_python)
        rows += found
        broken |= broke
    return rows, broken


def main() -> int:
    """Measure, print, keep; return the exit code."""
    names = [part.module.removeprefix("bench.") for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=MOST_S, help="for everything; fewer shorten each part")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--export-python", type=Path, default=EXPORT_PYTHON, help="a Python with torch and msclap")
    parser.add_argument("--results", type=Path, default=history.FOLDER, help="where results are kept")
    options = parser.parse_args()
    parts = tuple(part for part, name in zip(PARTS, names, strict=True) if name in options.only)
    machine, load = history.this_machine(), history.load_per_core()
    last = history.last_of(machine, options.results)
    began_s = time.monotonic()
    rows, broken = measure(parts, options.seconds, options.export_python)
    took_s = round(time.monotonic() - began_s, 1)
    result = history.Result(machine, history.now(), history.commit(), load, took_s, tuple(rows))
    print(markdown(rows, last.rows if last else ()))
    print(f"\nHere: {result.describe()}")
    print(f"Last time: {last.describe()}" if last else "Last time: no result of such a machine is kept")
    print(f"Kept as {result.keep(options.results)}")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
