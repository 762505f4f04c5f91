"""Large parts of requests, at the node for as long as they are needed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from edge_monitor.api.client import NodeClient


@contextmanager
def sent(client: NodeClient, content: IO[bytes]) -> Iterator[str]:
    """Yield the file id that stands for `content` at the node during the body. Raises EdgeMonitorError."""
    file_id = client.send(content)
    try:
        yield file_id
    finally:
        with suppress(EdgeMonitorError):  # it goes by itself after a minute
            client.forget(file_id)
