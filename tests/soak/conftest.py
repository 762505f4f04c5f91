"""What a soak listens to: ten minutes of a pump that fails at the end of them, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.sharing import made_once
from tests.soak import alarming
from tests.sounds import pump

if TYPE_CHECKING:
    from pathlib import Path
HEALTHY_S, FAULTY_S = 500, 100


@pytest.fixture(scope="session")
def long_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a WAV file of ten minutes: the healthy pump, then the rattling one."""
    sound = np.concatenate([pump(HEALTHY_S, take=1), pump(FAULTY_S, take=2, fault="rattle", fault_db=12.0)])
    path = tmp_path_factory.mktemp("turns") / "turns.wav"
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def machine_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of what eight machines play that alarm every few seconds."""
    return made_once(tmp_path_factory, "machine-turns", alarming.write_turns)


@pytest.fixture(scope="session")
def alarming_state(tmp_path_factory: pytest.TempPathFactory, healthy_clips: Path, machine_turns: Path) -> Path:
    """Return the state directory of a node whose nine machines are enrolled; copy it, never use it."""

    def make(folder: Path) -> None:
        alarming.make_state(folder, healthy_clips, machine_turns)

    return made_once(tmp_path_factory, "alarming", make) / "state"
