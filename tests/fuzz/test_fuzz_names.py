"""Names that lead elsewhere, and links in the folders of kept sound: nothing outside is read, written or deleted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.capture.gate import parse_run_signal
from edge_monitor.deliver.topics import Topics
from edge_monitor.errors import ConfigError, StorageError
from edge_monitor.node.kept_audio import KeptAudio
from tests.fuzz.search import thoroughly

if TYPE_CHECKING:
    from pathlib import Path

SHA = "ab" * 32


def kept(folder: Path) -> KeptAudio:
    """Return one machine's kept sound on a disk with room."""
    return KeptAudio(folder / "audio/pump", 0, 1_000_000_000)


@thoroughly
@given(name=st.text(max_size=80))
def test_a_recordings_hash_is_a_hash_or_refused(name: str, tmp_path: Path) -> None:
    """What names a file of kept sound can name no other."""
    try:
        path = kept(tmp_path).path(name)
    except StorageError:
        return
    assert path == tmp_path / "audio/pump" / f"{name}.flac"
    assert path.resolve().parent == (tmp_path / "audio/pump").resolve()


@pytest.mark.parametrize("name", [f"{SHA}\n", f"../{SHA}", SHA.upper(), f"{SHA}/..", f"{SHA}\0"])
def test_what_looks_like_a_hash_and_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """A hash has 64 small hexadecimal digits and nothing else."""
    with pytest.raises(StorageError):
        kept(tmp_path).path(name)


@pytest.mark.parametrize("suffix", [".part", ".flac"])
def test_a_link_in_place_of_kept_sound_is_not_written_through(tmp_path: Path, suffix: str) -> None:
    """A link in the folder leads nowhere: what it points at keeps its bytes."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    store = kept(tmp_path)
    store.folder.mkdir(parents=True)
    (store.folder / f"{SHA}{suffix}").symlink_to(precious)
    with suppress(StorageError):
        store.write(SHA, [b"sound"])
    assert precious.read_bytes() == b"precious"


def test_a_link_in_place_of_a_machines_folder_is_refused(tmp_path: Path) -> None:
    """Sound is kept below the state directory, and nowhere else."""
    outside = tmp_path / "outside"
    outside.mkdir()
    store = kept(tmp_path)
    store.folder.parent.mkdir()
    store.folder.symlink_to(outside)
    with pytest.raises(StorageError):
        store.write(SHA, [b"sound"])
    assert list(outside.iterdir()) == []


@thoroughly
@given(
    payload=st.one_of(
        st.binary(max_size=60), st.text(max_size=20).map(str.encode), st.floats().map(lambda x: str(x).encode())
    )
)
def test_any_run_signal_says_yes_no_or_nothing(payload: bytes) -> None:
    """Whatever is published on a run topic is a verdict or none."""
    assert parse_run_signal(payload, 0.5) in {True, False, None}


@thoroughly
@given(name=st.text(max_size=70))
def test_a_topic_has_the_levels_it_is_made_of(name: str) -> None:
    """A name adds one level to a topic, or is refused."""
    try:
        topic = Topics("edge-monitor/v1", "plant", "edge").alert(name)
    except ConfigError:
        return
    assert topic.count("/") == 5
    assert not set(topic) & set("+#\0")
