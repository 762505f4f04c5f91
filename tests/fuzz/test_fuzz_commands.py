"""Any bytes as a command over MQTT: a request that holds, or a refusal that repeats nothing of it."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from edge_monitor.deliver.requests import REQUESTS, read_request, request_id_of
from edge_monitor.errors import ControlError
from tests.fuzz.search import thoroughly

NOW_MS = 1_800_000_000_000
CANARY = "canary-9e8a47f6"
good = {
    "schema_version": 1,
    "request_id": "r-1",
    "machine": "pump",
    "issued_at_ms": NOW_MS,
    "expires_at_ms": NOW_MS + 60_000,
    "duration_s": 60.0,
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from((CANARY, f"../{CANARY}", f"{CANARY}/+/#", NOW_MS, -1, 1e308)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
changed = st.dictionaries(st.sampled_from((*good, CANARY)), json_values, max_size=3)
mistaken = changed.map(lambda change: json.dumps({**good, **change}).encode())


@thoroughly
@given(command=st.sampled_from(sorted(REQUESTS)), payload=st.one_of(mistaken, st.binary(max_size=300)))
@example(command="learn", payload=b"[" * 4000)
@example(command="inhibit", payload=b'{"request_id": "\\ud800"}')
@example(command="inhibit", payload=b'{"duration_s": ' + b"9" * 3000 + b"}")
def test_any_command_is_a_request_that_holds_or_one_refusal(command: str, payload: bytes) -> None:
    """A request names one machine, is in time and bounded; a refusal is one short line without the payload's values."""
    request_id = request_id_of(payload)
    assert request_id is None or len(request_id) <= 200
    try:
        request = read_request(command, payload, now_ms=NOW_MS)
    except ControlError as error:
        one_quiet_line(error)
        return
    assert request.issued_at_ms < request.expires_at_ms
    assert request.expires_at_ms > NOW_MS
    assert not set(request.machine) & set("/+#. \0")
    assert 0 < getattr(request, "duration_s", 1.0) <= 86_400


def one_quiet_line(error: ControlError) -> None:
    """Check what would be published of a mistake."""
    assert "\n" not in str(error)
    assert len(str(error)) < 500
    assert CANARY not in str(error)
