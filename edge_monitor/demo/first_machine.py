"""The three commands that lead from the demo to a first own machine, as they can be typed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

_CONFIG = Path("edge-monitor.toml")
MINUTES = 10  # a beginning


def first_machine() -> tuple[str, str, str]:
    """Return them: which microphones there are, a configuration to write one into, enrolling.

    They are right in whatever folder they are typed: `make -C` and scripts run the demo in another one.
    """
    command = _command()
    config = _CONFIG if os.access(".", os.W_OK) else Path.home() / _CONFIG
    write = f"config check --config {typed(config)}" if config.exists() else f"config init --path {typed(config)}"
    return f"{command} devices", f"{command} {write}", f"{command} enroll --config {typed(config)} --live {MINUTES}"


def typed(path: Path) -> str:
    """Return a path as a shell takes it, with `~` for the home folder."""
    home = Path.home()
    if path.is_relative_to(home) and path != home:
        return f"~/{shlex.quote(str(path.relative_to(home)))}"
    return shlex.quote(str(path))


def _command() -> str:
    """Return `edge-monitor` where the shell finds this very one, else its whole path."""
    started = Path(sys.argv[0])
    own = started.absolute() if started.name == "edge-monitor" else Path(sys.executable).with_name("edge-monitor")
    if not own.exists():
        return f"{typed(Path(sys.executable))} -m edge_monitor"
    found = shutil.which("edge-monitor")
    return "edge-monitor" if found and own.samefile(found) else typed(own)
