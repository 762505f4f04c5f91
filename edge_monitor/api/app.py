"""The HTTP API under /v1, made from the table of operations."""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from edge_monitor import __version__
from edge_monitor.api.messages import FileCreated, JobStarted, JobState, Problem, path_of
from edge_monitor.errors import ControlError, DiskError, EdgeMonitorError
from edge_monitor.node.files import PIECE_BYTES
from edge_monitor.node.operation import Kind, LongOperation, Nothing, Operation
from edge_monitor.node.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.api.jobs import Jobs
    from edge_monitor.node.node import Node

POLL_S = 3.0  # a poll waits so long for something to tell
_REFUSED, _INVALID, _NO_STORAGE = 400, 422, 503
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (_REFUSED, _INVALID, _NO_STORAGE)
}


def make_app(node: Node, jobs: Jobs, closing: Callable[[], bool] = lambda: False) -> FastAPI:
    """Return the API of a node; its documentation is a file of its own, see api/document.py.

    While it is `closing` nobody waits for news.
    """
    app = FastAPI(
        title="edge-monitor", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, responses=_RESPONSES
    )
    for problem in (EdgeMonitorError, sqlite3.Error, RequestValidationError):
        app.add_exception_handler(problem, _refused)
    there = _weakly(node)
    for operation in OPERATIONS:
        is_long = operation.kind is Kind.LONG
        app.add_api_route(
            path_of(operation.name),
            _endpoint(there, jobs, operation),
            methods=["GET" if operation.kind is Kind.READ else "POST"],
            status_code=202 if is_long else 200,
            response_model=JobStarted if is_long else operation.answer,
            response_model_exclude_unset=True,
            operation_id=operation.name,
            description=operation.run.__doc__,
        )
    _add_jobs(app, jobs, closing)
    _add_files(app, there)
    return app


def _weakly(node: Node) -> Callable[[], Node]:
    """Return what returns the node: FastAPI caches whatever answers, and would keep each node that a reload ends."""
    found = weakref.ref(node)

    def there() -> Node:
        node = found()
        if node is None:
            raise ControlError("the daemon has ended")
        return node

    return there


def _endpoint(
    there: Callable[[], Node], jobs: Jobs, operation: Operation[Any, Any] | LongOperation[Any, Any, Any]
) -> Callable[..., Any]:
    """Return what answers a request, annotated as FastAPI reads it."""
    if isinstance(operation, LongOperation):

        def start(request: Any, detached_s: Any = None) -> JobStarted:  # noqa: ANN401 - the operation's own models
            return JobStarted(job=jobs.start(there(), operation, request, detached_s))

        start.__annotations__ = {
            "request": Annotated[operation.request, Body()],
            "detached_s": Annotated[float | None, Query(gt=0, allow_inf_nan=False)],
        }
        return start

    def answer(request: Any) -> Any:  # noqa: ANN401 - as above
        return operation.run(there(), request)

    place = Query() if operation.kind is Kind.READ else Body()
    answer.__annotations__ = {"request": Annotated[operation.request, place]}
    return answer


def _add_jobs(app: FastAPI, jobs: Jobs, closing: Callable[[], bool]) -> None:
    @app.get("/v1/jobs/{job}", operation_id="jobs.state")
    async def state(job: str, after: Annotated[int, Query(ge=0)] = 0) -> JobState:
        """Return what has become of a long operation, as soon as there is news after `after`; renews its lease."""
        found = jobs.find(job)
        news = asyncio.Event()
        loop = asyncio.get_running_loop()
        undo = found.listen(lambda: loop.call_soon_threadsafe(news.set))
        try:
            now = found.state(after)
            if not (now.progress or now.ended or closing()):
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), POLL_S)
                now = found.state(after)
        finally:
            undo()
        return now

    @app.delete("/v1/jobs/{job}", operation_id="jobs.cancel")
    async def cancel(job: str) -> Nothing:
        """Cancel a long operation: it leaves nothing half done."""
        jobs.find(job).cancel()
        return Nothing()


def _add_files(app: FastAPI, there: Callable[[], Node]) -> None:
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "maxLength": PIECE_BYTES}}}

    @app.post("/v1/files", operation_id="files.create")
    def create() -> FileCreated:
        """Make an empty file for a large part of a request."""
        return FileCreated(file=there().files.create())

    @app.put(
        "/v1/files/{file}",
        operation_id="files.append",
        openapi_extra={"requestBody": {"required": True, "content": binary}},
    )
    async def append(file: str, request: Request, offset: Annotated[int, Query(ge=0)]) -> Nothing:
        """Add a piece of at most 1 MiB at the end."""
        piece = await request.body()
        if len(piece) > PIECE_BYTES:
            raise ControlError(f"a piece has at most {PIECE_BYTES} bytes")
        await asyncio.to_thread(there().files.append, file, offset, piece)
        return Nothing()

    @app.get(
        "/v1/files/{file}", operation_id="files.piece", response_class=Response, responses={200: {"content": binary}}
    )
    def piece(file: str, offset: Annotated[int, Query(ge=0, lt=1 << 62)]) -> Response:
        """Return the next piece of a file, at most 1 MiB; empty at the end."""
        return Response(there().files.piece(file, offset), media_type="application/octet-stream")

    @app.delete("/v1/files/{file}", operation_id="files.forget")
    def forget(file: str) -> Nothing:
        """Let a file go."""
        there().files.forget(file)
        return Nothing()


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, EdgeMonitorError):
        problem, status = Problem.of(error), _NO_STORAGE if isinstance(error, DiskError) else _REFUSED
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        problem, status = Problem(message=str(first["msg"]), where=where), _INVALID
    else:
        problem, status = Problem.of_database(error), _NO_STORAGE
    return JSONResponse(problem.model_dump(), status)
