"""Asks the daemon over its socket."""

from __future__ import annotations

import socket
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from edge_monitor import __version__
from edge_monitor.api.messages import VERSION_HEADER, path_of
from edge_monitor.errors import ControlError, EdgeMonitorError
from edge_monitor.node.files import PIECE_BYTES
from edge_monitor.node.operation import Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import IO

    import httpx2

    from edge_monitor.node.operation import A, LongOperation, Operation, P, Q

PATIENCE_S = 15.0  # with an answer; a long operation's progress comes in polls
_AGAIN_S = 0.2  # a daemon that is being reloaded is asked once more after this time


class _RemoteError(EdgeMonitorError):
    """An error the daemon answered with."""


class DaemonClient:
    """Asks the daemon that listens at a socket."""

    def __init__(self, path: Path, *, patience_s: float = PATIENCE_S, restart_s: float = _AGAIN_S) -> None:
        import httpx2

        self._path = path
        self._patience_s = patience_s
        self._restart_s = restart_s
        self._connected = False
        self._http = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://edge-monitor", timeout=patience_s
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def call(self, operation: Operation[Q, A], request: Q) -> A:
        """Return the answer."""
        if operation.kind is Kind.READ:
            asked = request.model_dump(mode="json", exclude_none=True)
            answer = self._ask("GET", path_of(operation.name), params=asked)
        else:
            answer = self._ask("POST", path_of(operation.name), json=request.model_dump(mode="json"))
        return operation.answer.model_validate_json(answer.content)

    def follow(self, operation: LongOperation[Q, P, A], request: Q) -> Generator[P, None, A]:
        """Yield the progress, return the answer."""
        job = self._ask("POST", path_of(operation.name), json=request.model_dump(mode="json")).json()["job"]
        after, ended = 0, False
        try:
            while True:
                state = self._ask("GET", f"/v1/jobs/{job}", params={"after": after}).json()
                after, ended = state["next"], state["ended"]
                for each in state["progress"]:
                    yield operation.progress.model_validate(each)
                if ended and state["error"]:
                    raise _remote(state["error"])
                if ended:
                    return operation.answer.model_validate(state["answer"])
        finally:
            if not ended:
                with suppress(EdgeMonitorError):
                    self._ask("DELETE", f"/v1/jobs/{job}")

    def send(self, content: IO[bytes]) -> str:
        """Send it in pieces."""
        file_id: str = self._ask("POST", "/v1/files").json()["file"]
        offset = 0
        while piece := content.read(PIECE_BYTES):
            self._ask("PUT", f"/v1/files/{file_id}", params={"offset": offset}, content=piece)
            offset += len(piece)
        return file_id

    def fetch(self, file_id: str) -> Iterator[bytes]:
        """Yield the pieces."""
        offset = 0
        while piece := self._ask("GET", f"/v1/files/{file_id}", params={"offset": offset}).content:
            yield piece
            offset += len(piece)

    def forget(self, file_id: str) -> None:
        """Let it go; it would go by itself after a minute."""
        self._ask("DELETE", f"/v1/files/{file_id}")

    def _ask(self, method: str, path: str, **parts: Any) -> httpx2.Response:  # noqa: ANN401 - httpx2's own
        import httpx2

        try:
            response = self._request(method, path, **parts)
        except httpx2.TimeoutException as error:
            raise ControlError(
                f"the daemon does not answer within {self._patience_s:.0f} s",
                where=str(self._path),
                hint="restart it; its log says more",
            ) from error
        except httpx2.ConnectError as error:
            raise gone() from error
        except httpx2.HTTPError as error:
            raise ControlError(f"lost the daemon: {error}", hint="`edge-monitor status`") from error
        except UnicodeEncodeError as error:  # an argument may be any bytes
            raise ControlError("no name has such bytes: they are not UTF-8", where=repr(error.object[:80])) from error
        return self._checked(response)

    def _request(self, method: str, path: str, **parts: Any) -> httpx2.Response:  # noqa: ANN401 - as above
        """Send a request, again if the daemon went before it took it: it is being reloaded."""
        import httpx2

        end_s: float | None = None
        while True:
            try:
                if not self._connected and not is_daemon_at(self._path):
                    # What the client does when nobody listens; it leaves its socket to the garbage collector.
                    raise httpx2.ConnectError("nobody listens")  # noqa: TRY301 - handled as its own
                response = self._http.request(method, path, **parts)
            except (httpx2.RemoteProtocolError, httpx2.ConnectError, httpx2.ReadError) as error:
                self._connected = False
                taken = method == "POST" and not isinstance(error, httpx2.ConnectError)  # perhaps: it is not done twice
                end_s = end_s or time.monotonic() + self._restart_s
                if taken or time.monotonic() > end_s:
                    raise
                time.sleep(_AGAIN_S)
            else:
                self._connected = True
                return response

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        version = response.headers.get(VERSION_HEADER)
        if response.is_success and version == __version__:
            return response
        if version not in (None, __version__):
            raise ControlError(
                f"the daemon is edge-monitor {version}, this command is {__version__}",
                where=str(self._path),
                hint="restart the daemon",
            )
        try:
            raise _remote(response.json())
        except (ValueError, KeyError, TypeError) as error:
            text = "has too much to do" if response.status_code == 503 else f"answered {response.status_code}"  # noqa: PLR2004 - Service Unavailable
            raise ControlError(f"the daemon {text}", where=str(self._path), hint="try again") from error


def _remote(problem: dict[str, Any]) -> EdgeMonitorError:
    error = _RemoteError(problem["message"], where=problem["where"], hint=problem["hint"])
    error.exit_code = problem["exit_code"]
    return error


def is_daemon_at(path: Path) -> bool:
    """Return whether a daemon listens at a socket. Raises ControlError when this user may not ask it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except PermissionError as error:
            raise ControlError(
                "you may not talk to the daemon",
                where=str(path),
                hint="join the group that owns the socket, usually edge-monitor",
            ) from error
        except OSError:
            return False
    return True


def gone() -> ControlError:
    """Return the error for a daemon that has ended meanwhile."""
    return ControlError("the daemon has ended", hint="try again")


@contextmanager
def daemon_at(
    path: Path, *, patience_s: float = PATIENCE_S, restart_s: float = _AGAIN_S
) -> Iterator[DaemonClient | None]:
    """Yield the way to ask the daemon that listens at `path`; None when none does.

    It may be away for `restart_s` meanwhile. Raises ControlError when it may not be asked.
    """
    if not is_daemon_at(path):
        yield None
        return
    with closing(DaemonClient(path, patience_s=patience_s, restart_s=restart_s)) as client:
        yield client
