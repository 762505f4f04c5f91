"""The laws of chance behind a threshold: binomial for m of n windows, Poisson for alarms, Student's t for a tail."""

from __future__ import annotations

import math
from statistics import NormalDist

_BISECTIONS = 60  # halvings: 1 to 1e-18
# The shared cause in steps of a tenth of its standard deviation, with its normal probability.
_SHARED = tuple((i / 10, math.exp(-((i / 10) ** 2) / 2) / math.sqrt(2 * math.pi) / 10) for i in range(-80, 81))
_DOUBT = 0.05  # what a 95 % bound leaves
_MAX_DOF = 1000  # beyond, Student's t and the normal differ by less than 0.2 % at one in 100 000


def at_least(m: int, n: int, p: float, dependence: float = 0.0) -> float:
    """Return the probability of m or more successes in n trials of probability p each.

    With `dependence`, 0 to below 1, the trials share a part of their cause: each is a normal variable above a limit,
    any two correlated by that much (the one-factor model of Vasicek, Risk, December 2002).
    """
    if dependence <= 0.0 or not 0.0 < p < 1.0:
        return math.fsum(math.comb(n, i) * p**i * (1.0 - p) ** (n - i) for i in range(m, n + 1))
    limit = -NormalDist().inv_cdf(p)
    own = math.sqrt(2.0 * (1.0 - dependence))
    return math.fsum(
        weight * at_least(m, n, math.erfc((limit - math.sqrt(dependence) * shared) / own) / 2)
        for shared, weight in _SHARED
    )


def exceedance(m: int, n: int, probability: float, dependence: float = 0.0) -> float:
    """Return p such that `at_least(m, n, p, dependence)` equals `probability`, 0 < probability < 1."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(m, n, middle, dependence) < probability else (low, middle)
    return high


def plausible_count(n: int, p: float, doubt: float) -> int:
    """Return the largest count that n independent trials of probability 0 < p < 1 reach with probability >= `doubt`."""
    count, reached = 0, 1.0  # P(at least 0) = 1
    while count < n:
        log_choose = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
        reached -= math.exp(log_choose + count * math.log(p) + (n - count) * math.log1p(-p))
        if reached < doubt:
            break
        count += 1
    return count


def least_plausible_count(n: int, p: float, doubt: float) -> int:
    """Return the smallest count such that n independent trials of probability 0 < p < 1 stay within it >= `doubt`."""
    return n - plausible_count(n, 1.0 - p, doubt)


def poisson_upper(count: int) -> float:
    """Return the upper 95 % bound on the expected count after `count` were seen; 3.0 for none: the rule of three.

    Solves P(at most `count`) = 5 % (Garwood, Biometrika 28, 1936). `count` >= 0.
    """
    low, high = float(count), count + 10.0 + 10.0 * math.sqrt(count)
    for _ in range(_BISECTIONS):
        mean = (low + high) / 2
        log_terms = (i * math.log(mean) - mean - math.lgamma(i + 1) for i in range(count + 1))
        low, high = (mean, high) if math.fsum(map(math.exp, log_terms)) > _DOUBT else (low, mean)
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
