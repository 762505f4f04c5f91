"""The program where other users can read it: a checkout may lie in a folder that they may not enter."""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


@functools.cache
def program(name: str) -> list[str]:
    """Return the command line of a script of the tests', as any user can run it. Needs root where folders are closed.

    A closed checkout is bound to a second place, with the environment in it; the script takes its own folder's package.
    """
    python, script = Path(sys.executable), REPOSITORY / "tests" / name
    if python.is_relative_to(REPOSITORY) and any(not folder.stat().st_mode & 0o001 for folder in REPOSITORY.parents):
        place = Path(tempfile.mkdtemp(prefix="em-program-"))
        place.chmod(0o755)
        subprocess.run(["mount", "--bind", str(REPOSITORY), str(place)], check=True)
        atexit.register(_let_go, place)
        python, script = (place / path.relative_to(REPOSITORY) for path in (python, script))
    return [str(python), str(script)]


def _let_go(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()
