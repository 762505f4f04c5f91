"""One bundle's normals make way for another's, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import BundleMismatchError, NormalsError
from edge_monitor.memory.changes import use_bundle
from edge_monitor.memory.normal import NewNormal

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.memory.normal import Added
    from tests.memory.memory import Memory

    Enrol = Callable[[Memory, int], list[Added]]

OTHER = "b" * 64


def window(*vector: float) -> NewNormal:
    """Return a window of these coordinates."""
    return NewNormal(block=0, start_s=0.0, level_dbfs=-20.0, vector=np.array(vector, dtype=np.float32))


def test_a_switch_replaces_what_is_in_use(store: Memory, enrol: Enrol) -> None:
    """The recordings stay, with the other bundle's windows; the old ones are out of use and not counted."""
    enrol(store, 2)
    first, second = store.recordings()
    store.switch([(first, [window(1, 2), window(3, 4)]), (second, [window(5, 6)])], bundle_hash=OTHER)
    assert (store.ids(), store.bundle_hash()) == ((7, 8, 9), OTHER)
    assert [(r.id, r.name, r.normals, r.removed) for r in store.recordings()] == [
        (1, "00.wav", 2, 0),
        (2, "01.wav", 1, 0),
    ]


def test_switching_back_takes_the_old_normals_into_use(store: Memory, enrol: Enrol) -> None:
    """The same bundle hears the same: its normals are there already."""
    enrol(store, 1)
    [recording] = store.recordings()
    again = [window(*vector) for vector in store.vectors(store.ids())]
    store.switch([(recording, [window(1, 2)])], bundle_hash=OTHER)
    store.switch([(recording, again)], bundle_hash="a" * 64)
    assert store.ids() == (1, 2, 3)


def test_a_switch_that_fails_changes_nothing(store: Memory, enrol: Enrol) -> None:
    """Windows of two dimensions are refused as a whole."""
    enrol(store, 1)
    [recording] = store.recordings()
    with pytest.raises(NormalsError, match="different dimensions"):
        store.switch([(recording, [window(1, 2), window(3)])], bundle_hash=OTHER)
    assert store.ids() == (1, 2, 3)


def test_a_bundle_takes_anothers_place_and_gives_it_back(store: Memory, enrol: Enrol) -> None:
    """One row decides, however many normals there are; a mix of bundles and an unknown id are refused."""
    enrol(store, 2)
    store.remove([1])
    [first, _] = store.recordings()
    store.switch([(first, [window(1, 2)])], bundle_hash=OTHER)
    assert (store.ids(), store.bundle_hash()) == ((7,), OTHER)
    with pytest.raises(BundleMismatchError):
        store.restore([1])
    store.store.commit(lambda connection: use_bundle(connection, "pump-3", "a" * 64, instead_of=OTHER))
    assert store.ids() == (2, 3, 4, 5, 6)
    with pytest.raises(NormalsError, match="no normal 99"):
        store.remove([99])
