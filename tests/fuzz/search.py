"""How long the fuzz tests search. `EDGE_MONITOR_FUZZ_EXAMPLES=100000 pytest tests/fuzz` goes on for hours."""

from __future__ import annotations

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("EDGE_MONITOR_FUZZ_EXAMPLES", "60"))

# A decorator. Each example overwrites what the one before left in its folder; 30 s are a hang, however busy the box.
thoroughly = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=30),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
