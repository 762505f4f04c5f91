"""What a soak listens to: ten minutes of a pump that fails at the end of them, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.service.conftest import enrolled_state, healthy_clips
from tests.service.sounds import pump

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["enrolled_state", "healthy_clips"]
HEALTHY_S, FAULTY_S = 500, 100


@pytest.fixture(scope="session")
def long_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a WAV file of ten minutes: the healthy pump, then the rattling one."""
    sound = np.concatenate([pump(HEALTHY_S, take=1), pump(FAULTY_S, take=2, fault="rattle", fault_db=12.0)])
    path = tmp_path_factory.mktemp("turns") / "turns.wav"
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    return path
