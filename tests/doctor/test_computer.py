"""What the doctor says of a computer: its clock, memory, compiled libraries and unit."""

from __future__ import annotations

import subprocess

import pytest

from edge_monitor.doctor.computer import judge_clock, judge_memory, judge_trial, judge_unit


def test_a_library_built_for_another_processor_kills_its_trial_only() -> None:
    """The signal of an illegal instruction becomes a line that says how to rebuild."""
    died = subprocess.run(["sh", "-c", "kill -ILL $$"], check=False).returncode
    finding = judge_trial("hnswlib", died, "")
    assert finding.result == "fail"
    assert "another processor" in finding.text
    assert finding.hint is not None
    assert "HNSWLIB_NO_NATIVE=1" in finding.hint


@pytest.mark.parametrize(
    ("wall_ms", "synchronized", "result"),
    [
        (0, True, "fail"),  # a board without a clock
        (1_790_000_000_000, True, "ok"),  # 2026
        (1_790_000_000_000, False, "warn"),
        (1_790_000_000_000, None, "skip"),
        (5_000_000_000_000, True, "fail"),  # 2128
    ],
)
def test_the_clock_is_believed_only_where_it_can_be(wall_ms: int, synchronized: bool | None, result: str) -> None:
    """A year that cannot be fails; an unsynchronized clock is a warning."""
    assert judge_clock(wall_ms, synchronized=synchronized).result == result


def test_little_memory_is_told() -> None:
    """Three boxes."""
    assert [judge_memory(free_mb).result for free_mb in (99, 200, 300)] == ["fail", "warn", "ok"]


@pytest.mark.parametrize(
    ("properties", "result"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "warn"),
        ({"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"}, "fail"),
        ({"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "enabled"}, "warn"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"}, "warn"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "3"}, "warn"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"}, "ok"),
    ],
)
def test_the_unit_is_judged_by_what_systemctl_shows(properties: dict[str, str], result: str) -> None:
    """Installed, enabled, active, and not restarted."""
    assert judge_unit(properties).result == result
