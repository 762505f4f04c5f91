"""Normals in the database: once, whole, undoable, of one bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs

from edge_monitor.errors import BundleMismatchError, NormalsError
from edge_monitor.memory import changes
from edge_monitor.memory.normal import Added, Descriptors, NewNormal, NewRecording
from edge_monitor.runtime.interrupted_changes import InterruptedChanges
from tests.memory.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    Enrol = Callable[[Memory, int], list[Added]]

BUNDLE = "a" * 64


def window(*values: float) -> NewNormal:
    """Return a normal at 0 s with this vector."""
    return NewNormal(block=0, start_s=0.0, level_dbfs=-30.0, vector=np.array(values, dtype=np.float32))


def test_same_sound_is_added_once(store: Memory, enrol: Enrol) -> None:
    """Enrolling a folder again adds nothing."""
    assert enrol(store, 2) == [Added(1, 3, already=False), Added(2, 3, already=False)]
    assert enrol(store, 2) == [Added(1, 0, already=True), Added(2, 0, already=True)]
    assert [recording.normals for recording in store.recordings()] == [3, 3]


def test_vectors_come_back_bit_for_bit(store: Memory) -> None:
    """What is stored is float32, raw and exact, in the order asked for."""
    store.add("a.wav", "1", 10.0, [window(1.1, -2.2), window(3.3e-30, 4.4e30)], bundle_hash=BUNDLE)
    read = store.vectors([2, 1])
    assert read.dtype == np.float32
    assert read.tobytes() == np.array([[3.3e-30, 4.4e30], [1.1, -2.2]], dtype=np.float32).tobytes()


def test_listing_says_where_each_normal_comes_from(store: Memory, enrol: Enrol) -> None:
    """A normal is named by its recording and its position there."""
    enrol(store, 2)
    last = store.normals()[-1]
    assert (last.id, last.recording, last.start_s, last.level_dbfs, last.mode) == (6, "01.wav", 20.0, -32.0, "fast")
    assert store.spectrogram(6) == b"\x01\x02"
    assert store.descriptors(6) == Descriptors(-40.0, '{"rms": 1}')
    assert store.layout([6, 1]).start_s.tolist() == [20.0, 0.0]


def test_removal_can_be_undone(store: Memory, enrol: Enrol) -> None:
    """A removed recording is out of use, still readable, and comes back."""
    enrol(store, 2)
    assert store.remove_recording("00.wav") == (1, 2, 3)
    assert store.remove([1, 4]) == (4,)
    assert store.ids() == (5, 6)
    assert len(store.vectors([1])) == 1
    assert [(r.normals, r.removed) for r in store.recordings()] == [(0, 3), (2, 1)]
    assert store.restore([1, 2, 3]) == (1, 2, 3)
    assert store.restore([4]) == (4,)
    assert store.ids() == (1, 2, 3, 4, 5, 6)


def test_enrolling_a_removed_recording_takes_it_back(store: Memory, enrol: Enrol) -> None:
    """The same sound again is the same normals again, not new ones."""
    enrol(store, 1)
    store.remove_recording("00.wav")
    assert enrol(store, 1) == [Added(1, 3, already=True)]
    assert store.ids() == (1, 2, 3)


def test_a_session_comes_into_use_whole(store: Memory) -> None:
    """Live blocks count for nothing until the session ends, are thinned among themselves, and then count together."""
    session = f"{changes.SESSION}2026-01-31 1"
    blocks = [[window(float(i), 1.0) for i in range(6)], [window(0.0, 1.0), window(0.0, 9.0)]]
    for number, normals in enumerate(blocks):
        new = NewRecording(f"live {number}", str(number), 60.0, normals)
        added = changes.add(store.store, store.machine, new, bundle_hash=BUNDLE, part_of=session)
    assert (added.count, added.thinned) == (1, 1)
    assert (store.ids(), store.recordings()) == ((), ())
    changes.finish(store.store, store.machine, session, BUNDLE)
    assert store.ids() == (1, 2, 3, 4, 5, 6, 7)
    assert changes.unfinished(store.store) == ()


def test_an_interrupted_session_is_withdrawn_at_the_next_start(store: Memory, enrol: Enrol) -> None:
    """What a killed daemon had enrolled live is listed as removed and can be restored; what was in use stays in use."""
    enrol(store, 1)
    session = f"{changes.SESSION}2026-01-31 1"
    block = NewRecording("live 1", "1", 10.0, [window(*range(8))])
    changes.add(store.store, store.machine, block, bundle_hash=BUNDLE, part_of=session)
    with capture_logs() as logs:
        InterruptedChanges(store.store).discard()
        InterruptedChanges(store.store).discard()
    assert [(each["event"], each["session"], each["normals"]) for each in logs] == [
        ("memory.enrolment_withdrawn", "live 2026-01-31", 1)
    ]
    assert store.ids() == (1, 2, 3)
    assert [(each.normals, each.removed) for each in store.recordings()] == [(3, 0), (0, 1)]
    assert store.restore([4]) == (4,)


def test_a_session_repeated_after_an_interruption_is_whole_again(store: Memory) -> None:
    """The same sound heard again, withdrawn or not yet, counts with the end of the new session and not before."""
    block = NewRecording("live 1", "1", 10.0, [window(*range(8))])
    for number, withdrawn in enumerate((True, False)):
        session = f"{changes.SESSION}2026-01-31 {number}"
        changes.add(store.store, store.machine, block, bundle_hash=BUNDLE, part_of=session)
        if withdrawn:
            changes.withdraw(store.store, session)
        assert store.ids() == ()
    again = changes.add(store.store, store.machine, block, bundle_hash=BUNDLE, part_of=f"{changes.SESSION}2")
    assert again == Added(1, 1, already=True)
    assert store.ids() == ()
    changes.finish(store.store, store.machine, f"{changes.SESSION}2", BUNDLE)
    assert store.ids() == (1,)


def test_a_session_that_another_bundle_has_overtaken_stays_out_of_use(store: Memory, enrol: Enrol) -> None:
    """Its end is refused, and it can still be withdrawn."""
    session = f"{changes.SESSION}2026-01-31 1"
    block = NewRecording("live 1", "1", 10.0, [window(*range(8))])
    changes.add(store.store, store.machine, block, bundle_hash="b" * 64, part_of=session)
    enrol(store, 1)
    with pytest.raises(BundleMismatchError):
        changes.finish(store.store, store.machine, session, "b" * 64)
    assert store.ids() == (2, 3, 4)
    assert changes.withdraw(store.store, session) == 1
    assert changes.unfinished(store.store) == ()


def test_another_bundles_vectors_are_refused(store: Memory, enrol: Enrol) -> None:
    """Vectors of two models are never mixed, and the line says what to do."""
    enrol(store, 1)
    with pytest.raises(
        BundleMismatchError, match=r"pump-3: vectors of another bundle: aaaa.*Going over to another bundle"
    ):
        store.add("b.wav", "b", 10.0, [window(*range(8))], bundle_hash="b" * 64)
    assert len(store.recordings()) == 1


def test_changing_the_model_starts_over_and_back(store: Memory, enrol: Enrol) -> None:
    """With the old normals removed the same file is enrolled with the new bundle; then the old ones cannot return."""
    enrol(store, 1)
    store.remove(store.ids())
    sha256 = store.recordings()[0].sha256
    assert store.add("00.wav", sha256, 30.0, [window(1, 2)], bundle_hash="b" * 64) == Added(1, 1, already=False)
    assert store.bundle_hash() == "b" * 64
    with pytest.raises(BundleMismatchError):
        store.restore([1])
    assert store.ids() == (4,)


def test_another_dimension_is_refused_and_nothing_is_written(store: Memory) -> None:
    """A refused recording leaves no row behind."""
    with pytest.raises(NormalsError, match=r"different dimensions: \[1, 2\]"):
        store.add("a.wav", "1", 10.0, [window(1, 2), window(3)], bundle_hash=BUNDLE)
    assert store.recordings() == ()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_vector_that_is_not_finite_is_refused(bad: float) -> None:
    """A NaN among the normals would make every score NaN."""
    with pytest.raises(NormalsError, match="not a finite vector"):
        window(1.0, bad)


def test_near_duplicates_are_counted_not_stored(store: Memory) -> None:
    """The same sound in two files is remembered once."""
    vectors = np.random.default_rng(0).standard_normal((10, 8))
    store.add("a.wav", "1", 100.0, [window(*v) for v in vectors], bundle_hash=BUNDLE)
    again = store.add("copy.flac", "2", 100.0, [window(*v) for v in vectors[:4]], bundle_hash=BUNDLE)
    assert again == Added(2, 0, already=False, thinned=4)
    assert len(store.ids()) == 10


def test_machines_do_not_see_each_others_normals(store: Memory, enrol: Enrol) -> None:
    """One database, several machines."""
    enrol(store, 1)
    other = Memory(store.store, "fan-1")
    assert other.ids() == ()
    with pytest.raises(NormalsError, match="no normal 1"):
        other.remove([1])
    with pytest.raises(NormalsError, match="no normal 1"):
        other.vectors([1])


def test_unclear_recording_names_are_one_line_errors(store: Memory) -> None:
    """No such recording, or two of that name: the line says which ids there are."""
    for number in (1, 2):
        store.add("a.wav", str(number), 10.0, [window(number, 0)], bundle_hash=BUNDLE)
    with pytest.raises(NormalsError, match=r"2 recordings are named 'a.wav' \(give one of #1, #2\)"):
        store.remove_recording("a.wav")
    with pytest.raises(NormalsError, match=r"no recording 'b\.wav'"):
        store.remove_recording("b.wav")
