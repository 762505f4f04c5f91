"""A circuit breaker: a server that fails again and again is left in peace for a while."""

from __future__ import annotations

FAILURES = 3  # in a row, until it opens
FIRST_REST_S = 60.0
LONGEST_REST_S = 3600.0


class CircuitBreaker:
    """Counts failures in a row; from the third on each brings a rest: 60 s, then twice as long each time, up to 1 h.

    After a rest one more attempt is let through: its success closes the breaker, its failure brings the next rest.
    Times are monotonic seconds, passed in.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._closed_from_s = float("-inf")

    def rest_s(self, now_s: float) -> float:
        """Return how many seconds are left before the server may be asked; 0 = now."""
        return max(0.0, self._closed_from_s - now_s)

    def succeeded(self) -> None:
        """Forget all failures."""
        self._failures = 0
        self._closed_from_s = float("-inf")

    def failed(self, now_s: float, after_s: float | None = None) -> None:
        """Count a failure; `after_s` is the rest that the server asked for, heeded up to an hour."""
        self._failures += 1
        rest_s = after_s or 0.0
        if self._failures >= FAILURES:
            doublings = min(self._failures - FAILURES, 10)  # 60 s * 2**10 is far beyond the cap
            rest_s = max(rest_s, FIRST_REST_S * 2**doublings)
        self._closed_from_s = now_s + min(rest_s, LONGEST_REST_S)
