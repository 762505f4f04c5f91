"""C sources of the tests, compiled into libraries that are preloaded into the daemon."""

from __future__ import annotations

import subprocess
from pathlib import Path


def compiled(source: str, folder: Path) -> Path:
    """Compile `source` (a file beside this one) into a library in `folder`; return its path."""
    library = folder / f"{source}.so"
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", "-Wall", "-o", str(library), str(Path(__file__).parent / source), "-ldl"],
        check=True,
    )
    return library


def preloaded(source: str, folder: Path, **environment: object) -> tuple[str, ...]:
    """Compile `source` into `folder`; return what goes before a command line to preload it."""
    library = compiled(source, folder)
    return ("env", f"LD_PRELOAD={library}", *(f"{name}={value}" for name, value in environment.items()))
