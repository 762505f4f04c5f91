"""The two laws of chance behind a threshold: the binomial for m of n windows, Student's t for a fitted tail."""

from __future__ import annotations

import math

_BISECTIONS = 200  # halvings: far beyond double precision
_MAX_DOF = 1000  # beyond, Student's t and the normal differ by less than 0.2 % at one in 100 000


def at_least(m: int, n: int, p: float) -> float:
    """Return the probability of m or more successes in n independent trials of probability p."""
    return math.fsum(math.comb(n, i) * p**i * (1.0 - p) ** (n - i) for i in range(m, n + 1))


def exceedance(m: int, n: int, probability: float) -> float:
    """Return p such that `at_least(m, n, p)` equals `probability`, 0 < probability < 1."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(m, n, middle) < probability else (low, middle)
    return high


def student_tail(t: float, dof: int) -> float:
    """Return P(T > t) for t >= 0 and integer degrees of freedom.

    The finite series of Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    dof = min(dof, _MAX_DOF)
    angle = math.atan(t / math.sqrt(dof))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = dof % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(odd, dof - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return max(0.0, (1.0 - inside) / 2)


def student_quantile(p: float, dof: int) -> float:
    """Return t such that P(T > t) = p, for 1e-12 < p <= 0.5."""
    low, high = 0.0, 1.0
    while student_tail(high, dof) > p:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, dof) > p else (low, middle)
    return high
