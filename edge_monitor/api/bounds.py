"""What keeps a client from holding the API: requests are small and come soon, answers are taken soon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_monitor import __version__
from edge_monitor.api.messages import VERSION_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

MOST_BYTES = 1 << 20  # of a request's body
REQUEST_S = 10.0  # within which a request is complete
SEND_S = 10.0  # within which a client takes each part of an answer
_TOO_LARGE = 413


class PromptProtocol(H11Protocol):
    """HTTP/1.1 on a connection that is closed when a request has not come whole within REQUEST_S."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the request is whole."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.more_body:
            self._wait_no_more()
        elif self._deadline is None:  # the next request on this connection
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._wait_no_more()
        self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Bounded:
    """Refuses bodies that are too large, gives up clients that do not take their answer, names the version."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken, begun = 0, False

        async def bounded_receive() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_BYTES:
                raise _TooLargeError
            return message

        async def bounded_send(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (VERSION_HEADER.encode(), __version__.encode()),
                ]
            await asyncio.wait_for(send(message), SEND_S)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if length.isdigit() and int(length) > MOST_BYTES:
                await _refuse(bounded_send)
                return
            await self._app(scope, bounded_receive, bounded_send)
        except _TooLargeError:
            if not begun:
                await _refuse(bounded_send)
        except TimeoutError:  # nobody reads: the server closes the connection
            return


class _TooLargeError(Exception):
    """The body passes its bound."""


async def _refuse(send: Send) -> None:
    body = b'{"message":"the request is larger than 1 MiB","where":null,"hint":null,"exit_code":1}'
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": _TOO_LARGE, "headers": headers})
    await send({"type": "http.response.body", "body": body})
