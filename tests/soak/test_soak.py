"""Days of sound in little time: nothing grows, nothing is lost. `make soak` is the long form."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults.oracle import Plant
from tests.llm_server import LlmServer, says
from tests.soak.soak import DAY_S, soak

if TYPE_CHECKING:
    from pathlib import Path

DAYS = float(os.environ.get("EDGE_MONITOR_SOAK_DAYS", "0.03"))  # stream time
PACE = os.environ.get("EDGE_MONITOR_SOAK_PACE", "60")  # a factor, or "max" in quotes
HOP_S = float(os.environ.get("EDGE_MONITOR_SOAK_HOP_S", "5"))  # 1 scores five times as many windows of the same sound
LONG = 0.5  # days from which a slope per day means something
_EXPLAIN = """
[explain]
llm = "openai"
base_url = "{url}"
timeout_s = 2
deadline_s = 10
requests_per_day = 1000000
"""


@pytest.mark.timeout(300 if DAYS < LONG else 0)  # on a busy box
def test_days_of_sound_with_outages_lose_nothing_and_grow_nothing(
    enrolled_state: Path, long_turns: Path, tmp_path: Path
) -> None:
    """Broker and LLM fail again and again: memory, descriptors, threads and WAL stay flat, no alert is lost."""
    source = f'{{ kind = "recording", path = "{long_turns}", pace = {PACE}, loop = true }}'
    with LlmServer(says("This sound is rougher than the normal ones.")) as llm:
        tables = _EXPLAIN.format(url=llm.base_url)
        model = f"hop_s = {HOP_S}"
        plant = Plant(
            tmp_path, enrolled_state, long_turns, source=source, score_interval_s=10.0, model=model, tables=tables
        )
        with plant:
            report = soak(plant, llm, stream_s=DAYS * DAY_S, outage_s=30.0 if DAYS >= LONG else 5.0, hop_s=HOP_S)
            print(f"\n{report}")  # noqa: T201 - the figures are what the long form is run for
            plant.check(seconds=90.0)
            plant.stop()
    descriptors = report.ends(lambda sample: sample.descriptors)
    threads = report.ends(lambda sample: sample.threads)
    wal = report.ends(lambda sample: sample.wal_mb)
    assert descriptors[1] <= descriptors[0] + 3  # a connection being made, a command being answered
    assert threads[1] <= threads[0] + 2
    assert wal[1] <= max(wal[0] * 1.5, 8.0)
    assert report.rss_growth_mb < 8.0
    if DAYS >= LONG:
        assert report.rss_slope_mb_per_day < 1.0
        assert report.pace >= 50.0
