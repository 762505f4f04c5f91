"""Runs the daemon with an early retention: `python tidying.py SECONDS PYTHON -m edge_monitor run …`.

By itself it tidies a minute after its start, which a test does not wait for.
"""

from __future__ import annotations

import runpy
import sys

from edge_monitor.runtime import housekeeping


def main() -> None:
    """Change when it begins, and become the command."""
    _, seconds, _python, option, module, *arguments = sys.argv
    assert option == "-m"
    housekeeping.FIRST_S = float(seconds)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
