"""The server of the API: a thread of its own behind a unix socket that we bind ourselves."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from uvicorn import Server

    from edge_monitor.api.jobs import Jobs
    from edge_monitor.node.node import Node

log = structlog.get_logger()
SOCKET_MODE = 0o660
_BACKLOG = 128
_CLIENTS = 64  # at once; further ones are told 503
_WORKERS = 4  # threads that answer, each with a reading connection
_KEEP_ALIVE_S = 5
_CLOSING_S = 2
_TIDY_S = 15.0
_UNDOING_S = 8.0  # for long operations to undo what is half done, when the daemon stops


class ApiServer:
    """Answers at `path` from when it is made until closed; who comes before it is ready waits.

    Raises StorageError when the socket cannot be made.
    """

    def __init__(self, path: Path, node: Node, jobs: Jobs) -> None:
        self._path = path
        self._node = node
        self._jobs = jobs
        self._server: Server | None = None
        self._closing = threading.Event()
        self._socket = _bound(path)
        self.turned_s: float | None = (
            None  # monotonic, when the thread last moved, once it answers: every 15 s and less
        )
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether it answers, or will."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Remove the socket, have long operations end, answer what is under way, for at most 2 s."""
        self._path.unlink(missing_ok=True)
        self._closing.set()
        self._jobs.end_all(_UNDOING_S)
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(_CLOSING_S + 1.0)
        self._node.files.close()

    def _run(self) -> None:
        # Here, not at the top: they take a second to import, and sound is already being scored.
        import asyncio

        import anyio.to_thread
        import uvicorn

        from edge_monitor.api.app import make_app
        from edge_monitor.api.bounds import Bounded, PromptProtocol

        async def serve() -> None:
            anyio.to_thread.current_default_thread_limiter().total_tokens = _WORKERS
            tidying = asyncio.create_task(tidy())
            await server.serve(sockets=[self._socket])
            tidying.cancel()

        async def tidy() -> None:
            while True:
                self.turned_s = clock.now().monotonic_s
                await asyncio.sleep(_TIDY_S)
                with suppress(OSError):  # closing a file on a full disk
                    await asyncio.to_thread(self._node.files.forget_untouched)

        try:
            config = uvicorn.Config(
                Bounded(make_app(self._node, self._jobs, self._closing.is_set)),
                loop="asyncio",
                http=PromptProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_CLIENTS,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_CLOSING_S,
                backlog=_BACKLOG,
            )
            server = self._server = uvicorn.Server(config)
            if not self._closing.is_set():
                asyncio.run(serve())
        except Exception:  # whoever looks after the daemon sees that it is not alive
            log.exception("api.not_served")
        finally:
            self._socket.close()


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)  # the lock is held, so a socket that is there is a dead daemon's
        listening.bind(str(path))
        path.chmod(SOCKET_MODE)  # before anyone can connect; a umask would be that of every thread
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = error.strerror if path.parent.exists() else "its folder cannot be made"
        raise StorageError(
            f"cannot make the control socket: {reason}",
            where=str(path),
            hint="the daemon's user must be able to write there; node.runtime_dir names another folder",
        ) from error
    return listening
