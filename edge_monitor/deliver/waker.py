"""How other threads wake the publisher while it waits for its socket."""

from __future__ import annotations

import contextlib
import socket


class Waker:
    """A socket that becomes readable once somebody wakes it; `wake()` may be called from any thread, at any time."""

    def __init__(self) -> None:
        self.socket, self._sender = socket.socketpair()
        self.socket.setblocking(False)
        self._sender.setblocking(False)

    def wake(self) -> None:
        """Wake whoever waits; nothing happens when it is readable already, or was closed."""
        with contextlib.suppress(OSError):
            self._sender.send(b"!")

    def clear(self) -> None:
        """Have it readable no more."""
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self._sender.close()
