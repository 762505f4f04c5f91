"""One bundle's normals make way for another's, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import BundleMismatchError, NormalsError
from edge_monitor.memory.normal import NewNormal

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.memory.normal import Added
    from edge_monitor.memory.normals import NormalStore

    Enrol = Callable[[NormalStore, int], list[Added]]

OTHER = "b" * 64


def window(*vector: float) -> NewNormal:
    """Return a window of these coordinates."""
    return NewNormal(block=0, start_s=0.0, level_dbfs=-20.0, vector=np.array(vector, dtype=np.float32))


def test_a_switch_replaces_what_is_in_use(store: NormalStore, enrol: Enrol) -> None:
    """The recordings stay, with the other bundle's windows; the old ones are out of use and not counted."""
    enrol(store, 2)
    first, second = store.recordings()
    store.switch([(first, [window(1, 2), window(3, 4)]), (second, [window(5, 6)])], bundle_hash=OTHER)
    assert (store.ids(), store.bundle_hash()) == ((7, 8, 9), OTHER)
    assert [(r.id, r.name, r.normals, r.removed) for r in store.recordings()] == [
        (1, "00.wav", 2, 0),
        (2, "01.wav", 1, 0),
    ]


def test_switching_back_takes_the_old_normals_into_use(store: NormalStore, enrol: Enrol) -> None:
    """The same bundle hears the same: its normals are there already."""
    enrol(store, 1)
    [recording] = store.recordings()
    again = [window(*vector) for vector in store.vectors(store.ids())]
    store.switch([(recording, [window(1, 2)])], bundle_hash=OTHER)
    store.switch([(recording, again)], bundle_hash="a" * 64)
    assert store.ids() == (1, 2, 3)


def test_a_switch_that_fails_changes_nothing(store: NormalStore, enrol: Enrol) -> None:
    """Windows of two dimensions are refused as a whole."""
    enrol(store, 1)
    [recording] = store.recordings()
    with pytest.raises(NormalsError, match="different dimensions"):
        store.switch([(recording, [window(1, 2), window(3)])], bundle_hash=OTHER)
    assert store.ids() == (1, 2, 3)


def test_exactly_these_normals_are_in_use(store: NormalStore, enrol: Enrol) -> None:
    """Others go out of use, removed ones come back; a mix of bundles and an unknown id are refused."""
    enrol(store, 2)
    store.remove([1])
    assert store.use_only([1, 2]) == (3, 4, 5, 6)
    assert store.ids() == (1, 2)
    assert store.use_only(()) == (1, 2)
    store.add("b.wav", "b", 10.0, [window(1, 2)], bundle_hash=OTHER)
    with pytest.raises(BundleMismatchError):
        store.use_only([1, 7])
    assert store.ids() == (7,)
    with pytest.raises(NormalsError, match="no normal 99"):
        store.use_only([99])
