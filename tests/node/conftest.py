"""A pump that has been enrolled, once for all tests."""

from __future__ import annotations

from tests.runtime.conftest import enrolled, enrolled_state, healthy_clips

__all__ = ["enrolled", "enrolled_state", "healthy_clips"]
