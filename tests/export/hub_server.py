"""A hub on this machine that speaks as much of Hugging Face's protocol as downloads need, and can break off."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RESOLVE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[0-9a-f]{40})/(?P<path>.+)")


@dataclass(slots=True)
class HubServer:
    """Serves files by `repository/path`; what it was asked for is in `ranges`."""

    files: dict[str, Path]
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next downloads break off, one each
    sha256: dict[str, str] = field(default_factory=dict)  # what the hub says instead of the truth
    ranges: list[str] = field(default_factory=list)  # "path bytes=…-" of every download
    endpoint: str = ""

    def run(self) -> Iterator[HubServer]:
        """Serve until the generator is closed."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            if self._head() is not None:
                self.end_headers()

        def do_GET(self) -> None:
            name = self._head()
            if name is None:
                return
            self.end_headers()
            content = hub.files[name].read_bytes()[self._start() :]
            cut = hub.cut_after.pop(0) if hub.cut_after else len(content)
            hub.ranges.append(f"{name.rpartition('/')[2]} {self.headers.get('Range', 'whole')}")
            self.wfile.write(content[:cut])
            self.close_connection = cut < len(content)

        def _start(self) -> int:
            return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])

        def _head(self) -> str | None:
            """Send status and headers; return the file's name, or None when there is none."""
            match = _RESOLVE.fullmatch(self.path)
            name = f"{match['repository']}/{match['path']}" if match else ""
            if match is None or name not in hub.files:
                self.send_error(404)
                return None
            content = hub.files[name].read_bytes()
            sha256 = hub.sha256.get(name, hashlib.sha256(content).hexdigest())
            start = self._start()
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", match["revision"])
            self.send_header("ETag", f'"{sha256}"')
            self.send_header("X-Linked-Etag", f'"{sha256}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            return name

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    return Handler
