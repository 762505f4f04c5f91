"""Runs the daemon so that its threads can be frozen: `python freezable.py FOLDER PYTHON -m edge_monitor run …`.

While there is a file FOLDER/NAME the thread of that name stands still at what it does next.
"""

from __future__ import annotations

import runpy
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_monitor.api.bounds import PromptProtocol
from edge_monitor.capture.microphone_child import PacketReader
from edge_monitor.deliver.connection import Connection
from edge_monitor.encode.encoder import Encoder
from edge_monitor.runtime.timekeeper import Timekeeper
from edge_monitor.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS: dict[str, tuple[type, str]] = {
    "main": (Timekeeper, "tick"),
    "pipeline": (Encoder, "embed_window"),
    "source": (PacketReader, "feed"),
    "storage": (Writer, "_carry_out"),
    "publisher": (Connection, "wait"),
    "api": (PromptProtocol, "data_received"),
}
_LOOK_S = 0.05


def freezable(file: Path, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return `real`, which waits while there is this file."""
    never = threading.Event()

    def wait(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the real one takes and returns
        while file.exists():
            never.wait(_LOOK_S)
        return real(*arguments, **named)

    return wait


def main() -> None:
    """Make the threads freezable, and become the command."""
    _, folder, _python, option, module, *arguments = sys.argv
    assert option == "-m"
    for name, (owner, method) in THREADS.items():
        setattr(owner, method, freezable(Path(folder) / name, getattr(owner, method)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
