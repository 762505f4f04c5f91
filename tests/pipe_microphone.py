"""A microphone that can be unplugged: a PulseAudio source that hears what this process writes to a pipe."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from edge_monitor.records import Samples
    from tests.sound_server import SoundServer

RATE_HZ = 16_000
_PIECE = 320  # frames, 20 ms
_AHEAD_S = 0.1  # a late write must not starve the source


class PipeMicrophone:
    """Plays a sound (frames,) at 16 kHz into the input `name`, again and again, in real time; a context manager."""

    def __init__(self, server: SoundServer, pipe: Path, name: str, sound: Samples) -> None:
        self.stopped = False  # True: the device delivers nothing, without an error
        self._server, self._pipe, self._name = server, pipe, name
        self.play(sound)
        self._module: str | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        """Begin to play; what is not plugged in is not heard."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop playing."""
        self._done.set()
        self._thread.join(5)

    def play(self, sound: Samples) -> None:
        """Go over to another sound (frames,)."""
        self._sound = np.round(sound * 32_767).astype("<i2")

    @property
    def plugged(self) -> bool:
        """Return whether it was plugged in and not taken out."""
        return self._module is not None

    def plug(self) -> None:
        """Make the input appear, unless it is there."""
        if self.plugged:
            return
        self._pipe.unlink(missing_ok=True)  # the server makes it, and leaves it behind when it is killed
        source = (f"source_name={self._name}", f"file={self._pipe}", "format=s16le", f"rate={RATE_HZ}", "channels=1")
        self._module = self._server.pactl("load-module", "module-pipe-source", *source)

    def unplug(self) -> None:
        """Make it vanish."""
        assert self._module is not None
        self._server.pactl("unload-module", self._module)
        self._module = None

    def forget(self) -> None:
        """Take note that the server has gone, and the input with it."""
        self._module = None

    def set_gain(self, gain_db: float) -> None:
        """Turn the input's volume, as a mixer of the operating system does."""
        self._server.pactl("set-source-volume", self._name, f"{gain_db}dB")

    def _write(self) -> None:
        at, due_s = 0, time.monotonic()
        while not self._done.wait(max(0.0, due_s - _AHEAD_S - time.monotonic())):
            due_s = max(due_s, time.monotonic() - _AHEAD_S) + _PIECE / RATE_HZ
            piece = np.take(self._sound, range(at, at + _PIECE), mode="wrap")
            at += _PIECE
            if not self.stopped:
                self._offer(piece.tobytes())

    def _offer(self, data: bytes) -> None:
        """Write to whoever reads the pipe; sound that nobody takes is gone."""
        try:
            pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return  # not plugged in
        try:
            os.write(pipe, data)
        except OSError:
            return  # full, or just unplugged
        finally:
            os.close(pipe)
