"""`edge-monitor demo`: the product at work in less than a minute."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--recordings",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Play real recordings in the DCASE 2020 Task 2 layout instead of the simulator.",
)
@click.option("--only", metavar="NAME", help="Of the recordings: this machine, e.g. 'valve id_00'; default: the first.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which simulated pump.")
@click.option("--healthy", is_flag=True, help="Let nothing fail: there must be no alert.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where its files go; default: a new temporary folder.",
)
def command(*, recordings: Path | None, only: str | None, seed: int, healthy: bool, folder: Path | None) -> None:
    """Enrol a machine, break it, and watch the alert arrive: no microphone, broker or account needed.

    The commands and the daemon are the real ones. Exits with 1 when an alert is missing or comes too early.
    """
    import tempfile

    from edge_monitor.console import Console
    from edge_monitor.demo.story import Demo
    from edge_monitor.errors import StorageError

    own = folder is None
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="edge-monitor-demo-"))
    elif folder.exists() and any(folder.iterdir()):
        raise StorageError("the folder is not empty", where=str(folder), hint="name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the broker and the daemon as well
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    demo = Demo(folder, Console.on(sys.stdout))
    try:
        if recordings is not None:
            right = demo.run_recordings(recordings, only)
        else:
            right = demo.run_simulated(seed=seed, faulty=not healthy)
    except (KeyboardInterrupt, SystemExit, BrokenPipeError):
        if own:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    raise SystemExit(0 if right else 1)
