"""SIGKILL while a node learns and its machines alarm: see tests/soak/killing.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.killing import PATIENCE_S, kill_in_the_middle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("name", ["import", "enrolment", "generations build"])
def test_killed_in_the_middle(name: str, alarming_state: Path, machine_turns: Path, tmp_path: Path) -> None:
    """The database stays whole, every promise is kept once, nothing is half done, and it can be done again."""
    kill_in_the_middle(name, tmp_path, alarming_state, machine_turns)
