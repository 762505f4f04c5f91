"""Large parts of requests that are not what they should be: one line, and nothing is taken in."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.api.client import LocalClient, finish
from edge_monitor.config.settings import Settings
from edge_monitor.errors import BundleMismatchError, NormalsError
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.memory.portable import write_recordings
from edge_monitor.node.node import Node
from edge_monitor.node.normals import AddRecording
from edge_monitor.node.operation import OfMachine
from edge_monitor.node.operations import ADD_RECORDING, LIST_NORMALS, SCORE
from edge_monitor.node.scoring import MOST_WINDOWS, ScoreSound
from edge_monitor.node.vectors import as_npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Return a node with one machine that knows nothing yet, without a daemon."""
    machine = {"name": "pump", "source": {"kind": "simulator"}}
    identity = {"site": "plant", "name": "box", "state_dir": str(tmp_path)}
    made = Node(Settings.model_validate({"node": identity, "machine": [machine]}))
    with made.store:
        yield made
    made.files.close()


def npy(array: np.ndarray) -> bytes:
    """Return an array as a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


VECTORS = np.ones((3, 304), dtype=np.float32)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its header is none"),
        (b"no array at all", "its header is none"),
        (npy(VECTORS)[:-5], "not one to 1000 whole ones"),
        (npy(VECTORS)[:-8], "not one to 1000 whole ones"),
        (npy(VECTORS[0]), "not (n, 304) float32"),
        (npy(VECTORS.astype(np.float64)), "not (n, 304) float32"),
        (npy(np.asfortranarray(VECTORS)), "not (n, 304) float32"),
        (npy(np.array([[{}]], dtype=object)), "not (n, 304) float32"),
        (npy(np.ones((MOST_WINDOWS + 1, 304), dtype=np.float32)), "not one to 1000 whole ones"),
    ],
)
def test_a_file_that_holds_no_vectors_is_refused(node: Node, content: bytes, why: str) -> None:
    """Whatever was sent, no pickle is read and no more memory taken than the file has."""
    client = LocalClient(node)
    request = ScoreSound(machine="pump", vectors=client.send(io.BytesIO(content)), bundle_hash=node.bundle.bundle_hash)
    with pytest.raises(NormalsError, match="not the vectors of windows") as refused:
        client.call(SCORE, request)
    assert why in refused.value.message


def test_vectors_arrive_to_the_last_bit(node: Node) -> None:
    """They are read, and then there is nothing yet to score them with."""
    client = LocalClient(node)
    vectors = client.send(as_npy(list(VECTORS)))
    with pytest.raises(NormalsError, match="not enrolled"):
        client.call(SCORE, ScoreSound(machine="pump", vectors=vectors, bundle_hash=node.bundle.bundle_hash))


def sent(client: LocalClient, recordings: int, bundle_hash: str) -> AddRecording:
    """Send so many recordings as one file."""
    normal = NewNormal(0, 0.0, -30.0, np.ones(8, dtype=np.float32))
    new = [NewRecording(f"{number}.wav", f"{number:064x}", 10.0, [normal]) for number in range(recordings)]
    content = io.BytesIO()
    write_recordings(content, "pump", new, bundle_hash=bundle_hash)
    content.seek(0)
    return AddRecording(machine="pump", file=client.send(content), bundle_hash=bundle_hash)


def test_a_recording_is_added_with_the_time_it_came(node: Node) -> None:
    """Sent twice it is known already."""
    client = LocalClient(node)
    request = sent(client, 1, node.bundle.bundle_hash)
    added = finish(client, ADD_RECORDING, request)
    assert (added.count, added.already, added.thinned) == (1, False, 0)
    again = finish(client, ADD_RECORDING, request)
    assert (again.count, again.already, again.thinned) == (0, True, 0)
    [listed] = client.call(LIST_NORMALS, OfMachine(machine="pump")).recordings
    assert (listed.name, listed.sha256, listed.seconds, listed.normals) == ("0.wav", "0" * 64, 10.0, 1)
    assert listed.added_ms > 1_700_000_000_000


def test_a_recording_of_another_bundle_or_more_than_one_is_refused(node: Node) -> None:
    """Nothing of it is written."""
    client = LocalClient(node)
    with pytest.raises(NormalsError, match="2 recordings, one is wanted"):
        finish(client, ADD_RECORDING, sent(client, 2, node.bundle.bundle_hash))
    with pytest.raises(BundleMismatchError, match="the daemon runs with the bundle"):
        finish(client, ADD_RECORDING, sent(client, 1, "b" * 64))
    lied = sent(client, 1, "b" * 64).model_copy(update={"bundle_hash": node.bundle.bundle_hash})
    with pytest.raises(BundleMismatchError, match="vectors of another bundle"):
        finish(client, ADD_RECORDING, lied)
    assert client.call(LIST_NORMALS, OfMachine(machine="pump")).recordings == ()
