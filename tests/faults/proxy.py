"""A TCP proxy between a node and its broker: what a bad network does, on command."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Self

_CHUNK_BYTES = 65_536
_TICK_S = 0.05


class Proxy:
    """Passes bytes between clients and `127.0.0.1:port`; a context manager. Faults take effect at once.

    `hole`: bytes vanish in both directions and new connections are accepted, but nothing is ever closed: half-open.
    `delay_s`: what the broker says comes so much later. `connections` counts the clients that came.
    """

    def __init__(self, port: int) -> None:
        self.hole = False
        self.delay_s = 0.0
        self.connections = 0
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(_TICK_S)
        self.port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Begin to accept."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._ended.set()
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """Close all connections, without a word of MQTT."""
        for each in self._open:
            each.close()
        self._open.clear()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            try:
                broker = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._open += [client, broker]
            threading.Thread(target=self._pass_on, args=(client, broker), daemon=True).start()

    def _pass_on(self, client: socket.socket, broker: socket.socket) -> None:
        to = {client: broker, broker: client}
        while not self._ended.is_set():
            try:
                for source in select.select([client, broker], [], [], _TICK_S)[0]:
                    received = source.recv(_CHUNK_BYTES)
                    if self.hole:
                        if not received:
                            time.sleep(_TICK_S)  # an end that nobody hears of
                        continue
                    if source is broker:
                        time.sleep(self.delay_s)
                    if not received:
                        raise ConnectionResetError
                    to[source].sendall(received)
            except (OSError, ValueError):
                client.close()
                broker.close()
                return
