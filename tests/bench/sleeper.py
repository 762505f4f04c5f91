"""A part that takes far too long, with a child of its own; only the tests run it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.rows import Row


def measure(seconds: float) -> list[Row]:
    """Note the child's process id in the file that $SLEEPER names, and sleep."""
    del seconds
    child = subprocess.Popen(["sleep", "60"])
    Path(os.environ["SLEEPER"]).write_text(str(child.pid))
    child.wait()
    return []
