"""What was measured of a normal: kept as JSON, read from rows of earlier versions, too."""

from __future__ import annotations

import pytest

from edge_monitor.errors import NormalsError
from edge_monitor.memory.normal import Descriptors


def test_what_is_kept_is_read_again() -> None:
    """The acoustics are an object of the row's JSON, not a text in it."""
    measured = Descriptors(-41.5, '{"version": 2, "level_dbfs": -30.1}')
    assert measured.to_json() == '{"quietest_dbfs": -41.5, "acoustics": {"version": 2, "level_dbfs": -30.1}}'
    assert Descriptors.from_json(measured.to_json()) == measured
    assert Descriptors.from_json(Descriptors(-41.5).to_json()) == Descriptors(-41.5)


def test_rows_of_earlier_versions_are_read() -> None:
    """They have the acoustics as text, or nothing of them."""
    assert Descriptors.from_json('{"quietest_dbfs": -30.0}') == Descriptors(-30.0)
    kept = '{"quietest_dbfs": -30.0, "acoustics": "{\\"version\\": 2}"}'
    assert Descriptors.from_json(kept) == Descriptors(-30.0, '{"version": 2}')


@pytest.mark.parametrize("damaged", ["", "[]", '{"quietest_dbfs": "loud"}'])
def test_damage_is_one_clear_line(damaged: str) -> None:
    """And no traceback."""
    with pytest.raises(NormalsError, match="cannot be read"):
        Descriptors.from_json(damaged)


def test_acoustics_that_are_no_json_are_refused() -> None:
    """Before they are kept."""
    with pytest.raises(NormalsError, match="not JSON"):
        Descriptors(-30.0, "loud").to_json()
