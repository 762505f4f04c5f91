"""The control socket: one request a connection, answered in JSON lines.

Request: `{"verb": …, "arguments": {…}}`. Answer: any number of `{"item": {…}}`, then `{"end": true}` or
`{"error": {"message", "where", "hint", "exit_code"}}`. File permissions decide who may ask.
"""

from __future__ import annotations

import json
import os
import select
import socket
import socketserver
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from edge_monitor.errors import ControlError, EdgeMonitorError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = Iterator[dict[str, Any]]

log = structlog.get_logger()
# A request carries at most one machine's vectors and pictures: about 8 kB a window, so this is four days of windows.
MAX_REQUEST_BYTES = 256 * 1024 * 1024
SOCKET_MODE = 0o660
PATIENCE_S = 10.0  # an asker that neither asks nor reads for so long (Ctrl-Z, a hung line) is gone


class _RemoteError(EdgeMonitorError):
    """An error the daemon answered with."""


class ControlServer:
    """Answers requests, each in a thread of its own, until closed. Raises StorageError when it cannot be reached."""

    def __init__(self, path: Path, answer: Callable[[str, dict[str, Any]], Answer]) -> None:
        class Request(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _serve(self, answer)

        self._path = path
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            path.unlink(missing_ok=True)  # the lock is held, so a socket that is there is a dead daemon's
            self._server = _Server(str(path), Request)
        except OSError as error:
            reason = error.strerror if path.parent.exists() else "its folder cannot be made"
            raise StorageError(
                f"cannot make the control socket: {reason}",
                where=str(path),
                hint="the daemon's user must be able to write there; node.runtime_dir names another folder",
            ) from error
        finally:
            os.umask(mask)
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="control", daemon=True).start()

    def close(self) -> None:
        """Remove the socket, answer who has reached it so far, and end; answers under way go on."""
        self._path.unlink(missing_ok=True)
        self._server.shutdown()
        while select.select([self._server], [], [], 0)[0]:
            self._server.handle_request()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection, on which neither asking nor reading the answer may take for ever."""
        connection, address = super().get_request()
        connection.settimeout(PATIENCE_S)
        return connection, address


def _serve(request: socketserver.StreamRequestHandler, answer: Callable[[str, dict[str, Any]], Answer]) -> None:
    def send(message: dict[str, Any]) -> None:
        request.wfile.write(json.dumps(message, allow_nan=False).encode() + b"\n")

    with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):  # the asker went away: nobody reads the answer
        line = request.rfile.readline(MAX_REQUEST_BYTES)
        if not line:
            return  # somebody only looked whether a daemon is here
        try:
            verb, arguments = _parse(line)
            for item in answer(verb, arguments):
                send({"item": item})
        except EdgeMonitorError as error:
            send({"error": _fields(error)})
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            raise
        except Exception as error:  # a request that fails costs its asker an answer, not the daemon its thread
            log.exception("service.request_failed")
            send({"error": _fields(ControlError(f"the daemon failed: {error!r}", hint="its log says more"))})
        else:
            send({"end": True})


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    if not line.endswith(b"\n"):
        raise ControlError(f"the request is larger than {MAX_REQUEST_BYTES >> 20} MiB")
    try:
        asked = json.loads(line)
        verb, arguments = asked["verb"], asked["arguments"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ControlError(f"not a request: {error}") from error
    if not isinstance(verb, str) or not isinstance(arguments, dict):
        raise ControlError("not a request: a verb is text, its arguments an object")
    return verb, arguments


def _fields(error: EdgeMonitorError) -> dict[str, Any]:
    return {"message": error.message, "where": error.where, "hint": error.hint, "exit_code": error.exit_code}


def connect(path: Path) -> socket.socket | None:
    """Return a connection to the daemon that listens at `path`; None when none does.

    Raises ControlError when there is one that this user may not ask.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except PermissionError as error:
        connection.close()
        raise ControlError(
            "you may not talk to the daemon",
            where=str(path),
            hint="join the group that owns the socket, usually edge-monitor",
        ) from error
    except OSError:
        connection.close()
        return None
    return connection


def gone() -> ControlError:
    """Return the error for a daemon that has ended meanwhile."""
    return ControlError("the daemon has ended", hint="try again")


def ask(connection: socket.socket, verb: str, arguments: dict[str, Any]) -> Answer:
    """Ask for `verb` and yield the items of the answer. Raises what the daemon answered with, or ControlError."""
    with connection, connection.makefile("rb") as stream:
        try:
            connection.sendall(json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n")
            for line in stream:
                message = json.loads(line)
                if "item" in message:
                    yield message["item"]
                elif "error" in message:
                    raise _remote_error(message["error"])
                else:
                    return
        except OSError as error:
            raise ControlError(f"lost the daemon: {error.strerror}", hint="`edge-monitor status`") from error
    raise ControlError("the daemon ended before it had answered", hint="`edge-monitor status`")


def _remote_error(fields: dict[str, Any]) -> EdgeMonitorError:
    error = _RemoteError(fields["message"], where=fields["where"], hint=fields["hint"])
    error.exit_code = fields["exit_code"]
    return error
