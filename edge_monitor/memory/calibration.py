"""The threshold, from normal sound alone, and what it means."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import NormalsError
from edge_monitor.memory.audibility import Audibility
from edge_monitor.memory.chance import at_least, exceedance, plausible_count
from edge_monitor.memory.coverage import Coverage, assess
from edge_monitor.memory.distance import K
from edge_monitor.memory.healthy_operation import DAY_S, at_most_per_day, in_normals
from edge_monitor.memory.leaveout import Layout, leave_block_out
from edge_monitor.memory.low_line import MIN_BLOCKS, LowLine, low_line
from edge_monitor.memory.odd_sound import RAISES, OddSound, standing_out
from edge_monitor.memory.tail import fit_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.healthy_operation import HealthyOperation
    from edge_monitor.memory.scaler import MetricSpec

METHOD = "log-normal tail, leave-block-out, Student-t prediction, unless the alarms heard refute it"
LABELLED = "ROC point nearest (0, 1) of labelled clips"

# At most one window in ten may exceed, however many false alarms are allowed: beyond, a threshold sits in the middle
# of the normal scores. (t is above 1.28 there, and mean + 1 std is never below the median: Cantelli.)
MAX_EXCEEDANCE = 0.1
MIN_EXCEEDANCE = 1e-9  # one window in 300 years of 10 s windows
# Of the false alarms wanted, what m of n windows may raise: on sound that drifts for hours or days no threshold that
# hears anything keeps what it promises on steady sound, and lasting faults are left to the long memory.
AT_ONCE = 0.01
_DOUBT = 0.05  # leave-block-out scores above the threshold that the model explains with less probability raise it


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """What the threshold is for."""

    window_s: float  # the bundle's window, seconds; disjoint windows are decided on
    false_alarms_per_day: float = 0.1
    raise_m: int = 3  # an alarm is raised when m ...
    raise_n: int = 5  # ... of the last n disjoint windows exceed
    changed_per_month: float = 1.0  # what finding a healthy machine changed may cost
    changed_after_s: float = 3600.0  # of sound are remembered for that
    operation: tuple[HealthyOperation, ...] = ()  # what healthy sound judged live says beside the normals, by threshold
    threshold: float | None = None  # chosen by labelled sound, in the score's unit; None: found from normal sound

    def __post_init__(self) -> None:
        """Refuse what no threshold can be found for."""
        if not (math.isfinite(self.window_s) and self.window_s > 0):
            raise NormalsError("the window must be longer than 0 s")
        if not (math.isfinite(self.false_alarms_per_day) and self.false_alarms_per_day > 0):
            raise NormalsError("false alarms per day must be above 0", hint="no threshold promises none")
        if not 1 <= self.raise_m <= self.raise_n:
            raise NormalsError("raise = [m, n] needs 1 <= m <= n")
        if not (math.isfinite(self.changed_per_month) and self.changed_per_month > 0):
            raise NormalsError("changed per month must be above 0", hint="no line promises none")
        if self.threshold is not None and not (math.isfinite(self.threshold) and self.threshold > 0):
            raise NormalsError("a threshold must be above 0")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what is known about it."""

    threshold: float  # > 0, in the score's unit
    wanted_per_day: float  # false alarms per day aimed at
    expected_per_day: float  # by the fitted model
    expected_low_per_day: float  # 95 % interval of the same: the fit's own uncertainty
    expected_high_per_day: float
    cannot_promise_below_per_day: float  # rule of three over the normal sound heard: the bound when no alarm was seen
    p: float  # fraction of normal windows that may exceed
    dependence: float  # correlation of successive windows' log scores, 0 to 0.9; 0 also where blocks are single windows
    raise_m: int
    raise_n: int
    window_s: float
    blocks: int
    windows: int
    seconds: float  # of normal sound in those windows
    median_score: float  # of the leave-block-out scores
    max_score: float
    method: str
    coverage: Coverage
    # The stated upper 95 % bound on false alarms per day, counted in independent stretches of normal sound, no model:
    # >= cannot_promise_below_per_day. None: calibrated by an earlier version.
    at_most_per_day: float | None = None
    independent_blocks: int | None = None  # stretches of blocks that do not resemble each other; None: as above
    operation_days: float = 0.0  # of healthy sound judged live that were counted too
    odd: OddSound | None = None  # None: no sound stands out, or calibrated by an earlier version
    low_line: LowLine | None = None  # None: too few blocks are known, or calibrated by an earlier version
    audibility: Audibility | None = None  # how faint a fault is heard; None: not measured with this threshold

    def to_json(self) -> str:
        """Return the record as JSON, exactly restorable."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Restore a record. Raises NormalsError when the text is not one."""
        try:
            fields = json.loads(text)
            odd = fields.get("odd") and OddSound(**fields["odd"])
            line = LowLine(**fields["low_line"]) if isinstance(fields.get("low_line"), dict) else None
            audibility = fields.get("audibility") and Audibility.of(fields["audibility"])
            coverage = Coverage(**fields["coverage"])
            return cls(**{**fields, "coverage": coverage, "odd": odd, "low_line": line, "audibility": audibility})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NormalsError(f"a stored calibration cannot be read: {error}") from error

    @property
    def extrapolated(self) -> bool:
        """Return whether the expected rate is lower than what was heard can promise."""
        return self.expected_per_day < self.cannot_promise_below_per_day

    @property
    def highest_usual(self) -> float:
        """Return the highest leave-block-out score; where one sound stands out, that of the others."""
        return self.odd.next_score if self.odd else self.max_score

    def sentence(self) -> str:
        """Return three plain lines for a person: what the lines are, and what nobody can promise."""
        related = f"successive windows correlated by {self.dependence:.2f}"
        heard = f"{self.seconds:.0f} s" if self.seconds < 600 else f"{self.seconds / 3600:.1f} h"  # noqa: PLR2004 - 10 min
        aim = f"aim at {_rate(AT_ONCE * self.wanted_per_day)} of the {_rate(self.wanted_per_day)} false alarms a day"
        if self.method == LABELLED:
            aim = "raise an alarm, as labelled sound chose"
        live = ""
        if self.operation_days:
            live = f" and {self.operation_days:.1f} days of operation, where alarms that nobody rejected count as true,"
        blocks = self.independent_blocks or self.blocks
        least = _rate(self.cannot_promise_below_per_day)
        most = least if self.at_most_per_day is None else _rate(self.at_most_per_day)
        promise = "" if most == least else f"promise at most {most} and "
        model = (
            f"Expected are {_rate(self.expected_per_day)} per day, the model's extrapolation (95 % interval "
            f"{_rate(self.expected_low_per_day)} to {_rate(self.expected_high_per_day)}, if log scores are normal; "
            f"{related}). By counting alone, "
        )
        return (
            f"Threshold {self.threshold:.4g}: healthy windows score {self.median_score:.4g} in the middle and up to "
            f"{self.max_score:.4g}; {self.raise_m} of {self.raise_n} windows above it {aim}.\n"
            f"{model if self.extrapolated else ''}{heard} of normal sound ({blocks} independent blocks){live} "
            f"{promise}cannot promise fewer than {least} per day (95 %).\n{self._line_sentence()}"
        )

    def _line_sentence(self) -> str:
        if self.low_line is None:
            return f"No low line: it needs {MIN_BLOCKS} independent blocks, so that lasting faults below are not heard."
        return (
            f"Low line {self.low_line.value:.4g}: a machine of which most windows lie above it counts as changed. The "
            f"model expects {_rate(self.low_line.per_month)} a month of a healthy one; what was heard cannot promise "
            f"fewer than {_rate(self.low_line.at_most_per_month)}."
        )

    def caution(self, machine: str) -> str:
        """Return a line when one sound raises the threshold, or it is so high that the monitor is hard of hearing."""
        if self.odd:
            return self.odd.caution(machine)
        if self.low_line is not None:
            return ""
        return "Caution: so little is known that only gross changes will raise an alarm. Enrol at least ten minutes."


def _rate(per_day: float) -> str:
    """Return a rate as a person reads it: 0, 0.1, 3.5, 216."""
    return f"{per_day:.0f}" if per_day >= 100 or per_day < 0.001 else f"{per_day:.2g}"  # noqa: PLR2004 - digits


def calibrate(
    vectors: NDArray[np.float32], layout: Layout, spec: MetricSpec, settings: CalibrationSettings, *, k: int = K
) -> Calibration:
    """Return the threshold for n normals, (n, dim) raw, from their leave-block-out scores.

    Each block was scored by a memory without it, which is a little smaller than the one in use: thresholds err upwards.
    Raises NormalsError for fewer than k + 1 normals.
    """
    left_out = leave_block_out(vectors, layout, spec, k=k, window_s=settings.window_s)
    return calibrate_scores(left_out.score, layout, settings, assess(left_out, layout.unit))


def calibrate_scores(
    score: NDArray[np.float64], layout: Layout, settings: CalibrationSettings, coverage: Coverage
) -> Calibration:
    """Return the threshold for leave-block-out scores, (n,), of disjoint windows in `layout`."""
    unit = layout.unit
    normals = in_normals(score, layout, settings.raise_m, settings.raise_n, settings.window_s)
    heard = [normals, *settings.operation]
    per_day = DAY_S / settings.window_s
    fit = fit_tail(score, unit, independent=len(normals.level))
    p, wanted = allowed_exceedance(settings, fit.dependence), AT_ONCE * settings.false_alarms_per_day
    if settings.threshold is None:
        method, value = METHOD, max(fit.quantile(p), not_refuted(score, allowed_exceedance(settings)))
        for each in heard:
            value = each.decide(value, wanted)
    else:
        method, value = LABELLED, settings.threshold
        p = fit.exceedance(value)
    heard = [each for each in heard if value >= each.lowest]  # lower, nothing is known of what was judged live
    low, high = fit.exceedance_interval(value)
    m, n = settings.raise_m, settings.raise_n
    expected, low, high = (at_least(m, n, q, fit.dependence) * per_day for q in (p, low, high))
    seconds = len(score) * settings.window_s
    return Calibration(
        threshold=value,
        wanted_per_day=settings.false_alarms_per_day,
        expected_per_day=expected,
        expected_low_per_day=min(low, expected),
        expected_high_per_day=max(high, expected),
        cannot_promise_below_per_day=at_most_per_day(heard, math.inf),
        at_most_per_day=at_most_per_day(heard, value),
        independent_blocks=len(normals.level),
        operation_days=sum(each.days for each in heard[1:]),
        p=p,
        dependence=fit.dependence,
        raise_m=m,
        raise_n=n,
        window_s=settings.window_s,
        blocks=len(np.unique(unit)),
        windows=len(score),
        seconds=seconds,
        median_score=float(np.median(score)),
        max_score=float(score.max()),
        method=method,
        coverage=coverage,
        odd=_odd(score, layout, settings, coverage, value),
        low_line=low_line(
            fit,
            score[np.lexsort((layout.start_s, layout.recording))],
            per_month=settings.changed_per_month,
            memory_s=settings.changed_after_s,
            window_s=settings.window_s,
        ),
    )


def _odd(
    score: NDArray[np.float64], layout: Layout, settings: CalibrationSettings, coverage: Coverage, threshold: float
) -> OddSound | None:
    """Return the sound that stands out, if it raises the threshold much; a given threshold is raised by none."""
    found = standing_out(score, layout)
    if settings.threshold is not None or found is None:
        return None
    highest, others = found
    rest = Layout(layout.recording[others], layout.block[others], layout.start_s[others])
    without = calibrate_scores(score[others], rest, settings, coverage).threshold
    if threshold < RAISES * without:
        return None
    recording, start_s = int(layout.recording[highest]), float(layout.start_s[highest])
    return OddSound(recording, start_s, float(score[highest]), float(score[others].max()), without)


def allowed_exceedance(settings: CalibrationSettings, dependence: float = 0.0) -> float:
    """Return the fraction of normal windows that may exceed, so that m of n rarely do.

    Solves P(at least m of n) = AT_ONCE * wanted per day / windows per day, for windows that depend on each other that
    much. It counts every window spent in the alarm condition, not only the first, so it errs on the quiet side.
    """
    wanted = min(AT_ONCE * settings.false_alarms_per_day * settings.window_s / DAY_S, 1.0)
    return min(max(exceedance(settings.raise_m, settings.raise_n, wanted, dependence), MIN_EXCEEDANCE), MAX_EXCEEDANCE)


def not_refuted(score: NDArray[np.float64], p: float) -> float:
    """Return the least threshold the scores themselves do not refute.

    When so many of them exceed a threshold that a true rate p would show it with probability below 5 % (binomial),
    the tail is heavier than fitted. One outlier never sets the threshold by itself unless p is that small.
    """
    above = plausible_count(len(score), p, _DOUBT)
    return float(np.sort(score)[::-1][above]) if above < len(score) else 0.0
