"""Downloads from a hub end with the very bytes that were named, or with one clear line."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.manifest import OriginFile
from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError
from edge_monitor.export.hub import Hub
from tests.export.hub_server import HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.torch  # huggingface_hub lives in torch's environment

REVISION = "5e1d53af259bb39d380680e69ca580960b2c66b1"
CONTENT = np.random.default_rng(1).bytes(32_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "someone/weights/model.pth"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    """Provide a hub with one file of 32 MB."""
    path = tmp_path / "served.pth"
    path.write_bytes(CONTENT)
    yield from HubServer({NAME: path}).run()


def named(*, size_bytes: int | None = None, sha256: str | None = None) -> OriginFile:
    """Return the file's description in a recipe."""
    return OriginFile(
        role="encoder",
        repository="someone/weights",
        revision=REVISION,
        path="model.pth",
        size_bytes=size_bytes,
        sha256=sha256,
    )


def test_what_the_recipe_leaves_open_is_the_hubs_word(server: HubServer) -> None:
    """Size and SHA-256 at the pinned revision come from the hub's metadata."""
    file = Hub(server.endpoint).described(named())
    assert (file.size_bytes, file.sha256) == (32_000_000, SHA256)
    assert server.ranges == []


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: HubServer, tmp_path: Path) -> None:
    """A second call finds it there."""
    hub = Hub(server.endpoint)
    file = hub.described(named())
    path = hub.fetch(file, tmp_path / "downloads")
    assert path.read_bytes() == CONTENT
    assert hub.fetch(file, tmp_path / "downloads") == path
    assert server.ranges == ["model.pth whole"]


def test_an_interrupted_download_goes_on_where_it_broke_off(server: HubServer, tmp_path: Path) -> None:
    """Twice cut, three parts, the right bytes; each from where the last whole piece ended."""
    server.cut_after = [15_000_000, 15_000_000]
    hub = Hub(server.endpoint)
    path = hub.fetch(hub.described(named()), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges[0] == "model.pth whole"
    # huggingface_hub writes pieces of 10 MiB; what broke off within one is sent again
    assert server.ranges[1:] == ["model.pth bytes=10485760-", "model.pth bytes=20971520-"]


def test_a_download_that_stays_broken_is_kept_for_the_next_call(server: HubServer, tmp_path: Path) -> None:
    """After five tries without a new byte the user is told; the next call starts from what is there."""
    server.cut_after = [25_000_000, *[0] * 12]
    hub = Hub(server.endpoint)
    file = hub.described(named())
    with pytest.raises(
        BundleMissingError, match=r"cannot be downloaded: .*; 21 of 32 MB are kept \(call again to go on"
    ):
        hub.fetch(file, tmp_path)
    server.cut_after = []
    server.ranges.clear()
    assert hub.fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["model.pth bytes=20971520-"]


def test_a_hub_that_offers_another_file_is_refused_before_a_byte(server: HubServer) -> None:
    """A recipe that names the hash is not talked out of it."""
    with pytest.raises(
        BundleMismatchError, match=r"the hub offers 32000000 bytes with SHA-256 .*nothing was downloaded"
    ):
        Hub(server.endpoint).described(named(sha256="0" * 64))
    with pytest.raises(BundleMismatchError, match="expected 5 with"):
        Hub(server.endpoint).described(named(size_bytes=5))


def test_other_bytes_than_promised_are_deleted(server: HubServer, tmp_path: Path) -> None:
    """A hub, or a proxy, that sends something else than it named leaves nothing behind."""
    server.sha256 = {NAME: "a" * 64}
    hub = Hub(server.endpoint)
    with pytest.raises(BundleMismatchError, match=r"has SHA-256 .*, expected aaaaaaaaaaaa…"):
        hub.fetch(hub.described(named()), tmp_path)
    assert not list(tmp_path.rglob("model.pth"))


def test_a_hub_without_the_file_is_one_line(server: HubServer) -> None:
    """The line names the hub and the file, and says how to go on without them."""
    server.files.clear()
    with pytest.raises(BundleMissingError, match=r"someone/weights model\.pth: cannot be downloaded: 404") as caught:
        Hub(server.endpoint).described(named())
    assert "\n" not in str(caught.value)
    assert "--from-file" in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The system's own word, and not a page of the library's tries."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # the library's pauses between its tries
    with pytest.raises(BundleMissingError, match=r"model\.pth: cannot be downloaded: Connection refused \(call again"):
        Hub("http://127.0.0.1:9").described(named())
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_one_line(server: HubServer, tmp_path: Path) -> None:
    """A process that may write no more than 1 MB into a file stands for a full disk."""
    code = f"""
import resource
from pathlib import Path
from edge_monitor.errors import BundleError
from edge_monitor.export.hub import Hub
from tests.export.test_hub import named
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
hub = Hub({server.endpoint!r})
try:
    hub.fetch(hub.described(named()), Path({str(tmp_path)!r}))
except BundleError as error:
    print(error)
"""
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.endswith("cannot be written: File too large (make room or choose another --out)\n")


def test_a_damaged_copy_is_named(tmp_path: Path) -> None:
    """A local file of another size or hash is refused with both."""
    from edge_monitor.export.hub import verify

    path = tmp_path / "copy.pth"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(BundleMismatchError, match="has 31999999 bytes, expected 32000000"):
        verify(path, named(size_bytes=32_000_000))
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(BundleError, match=f"expected {SHA256[:12]}"):
        verify(path, named(size_bytes=32_000_000, sha256=SHA256))
