"""How other threads wake the publisher while it waits for its socket."""

from __future__ import annotations

import contextlib
import socket


class Waker:
    """A socket that becomes readable when somebody rings; `ring()` may be called from any thread, at any time."""

    def __init__(self) -> None:
        self.socket, self._rope = socket.socketpair()
        self.socket.setblocking(False)
        self._rope.setblocking(False)

    def ring(self) -> None:
        """Wake whoever waits; nothing happens when it rings already, or was closed."""
        with contextlib.suppress(OSError):
            self._rope.send(b"!")

    def hush(self) -> None:
        """Take note that it rang."""
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self._rope.close()
