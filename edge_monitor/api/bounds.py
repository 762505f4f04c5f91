"""What keeps a client from holding the API: requests are small and come soon, answers are taken soon."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_monitor import __version__
from edge_monitor.api.messages import VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20  # of a request's body
REQUEST_S = 10.0  # within which a request is complete
SEND_S = 10.0  # within which a client takes what is sent
_TOO_LARGE = 413
_WHOLE = (h11.DONE, h11.MUST_CLOSE)  # what a client's side of the connection is then
_VERSION = (VERSION_HEADER.encode(), __version__.encode())


class PromptProtocol(H11Protocol):
    """HTTP/1.1 on a connection that is cut when a request does not come whole, or an answer is not taken, in time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as the base class has them
        super().__init__(*arguments, **named)
        self._request = _Deadline(self._cut)
        self._answer = _Deadline(self._cut)

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as above
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._request.begin(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the request is whole, and begin with the next one's first byte."""
        super().data_received(data)
        if self.conn.their_state in _WHOLE:
            self._request.end()
        else:
            self._request.begin(REQUEST_S)

    def pause_writing(self) -> None:
        """Begin to wait until the client takes what is sent."""
        super().pause_writing()
        self._answer.begin(SEND_S)

    def resume_writing(self) -> None:
        """Stop waiting."""
        self._answer.end()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for anything."""
        self._request.end()
        self._answer.end()
        super().connection_lost(exc)

    def _cut(self) -> None:
        self.transport.abort()


class _Deadline:
    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        """Begin, unless it is under way."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._passed)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Bounded:
    """Refuses bodies that are too large, and names the version in every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        taken = int(length) if length.isdigit() else 0  # of what is announced, or of what has come

        async def bounded_receive() -> Message:
            nonlocal taken
            message = await receive()
            if b"content-length" not in dict(scope["headers"]):
                taken += len(message.get("body", b""))
            if taken > MOST_BYTES:
                raise _TooLargeError
            return message

        async def named_send(message: Message) -> None:
            if taken > MOST_BYTES:  # whatever the application makes of what it could not read
                return
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), _VERSION]
            await send(message)

        if taken <= MOST_BYTES:
            with suppress(_TooLargeError):
                await self._app(scope, bounded_receive, named_send)
        if taken > MOST_BYTES:
            await _refuse(send)


class _TooLargeError(Exception):
    """The body passes its bound."""


async def _refuse(send: Send) -> None:
    body = b'{"message":"the request is larger than 1 MiB","where":null,"hint":null,"exit_code":1}'
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), _VERSION]
    await send({"type": "http.response.start", "status": _TOO_LARGE, "headers": headers})
    await send({"type": "http.response.body", "body": body})
