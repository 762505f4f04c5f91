"""The values that pass between rooms: frozen, slotted, each field with its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Vector = NDArray[np.float32]

# Of a memory's windows, so many lie above the low line when the machine has changed.
LOW_LINE_SHARE = 0.8
_MOST_GROWTH = math.log(1e4)  # of a score in the time of a slope: 1e6 per cent are beyond any meaning


def long_memory_windows(memory_s: float, window_s: float) -> tuple[int, int]:
    """Return how many disjoint windows a long memory holds, and how many of them above the low line say "changed"."""
    windows = max(1, round(memory_s / window_s))
    return windows, math.ceil(LOW_LINE_SHARE * windows - 1e-9)


class MachineState(IntEnum):
    """What is published as `state_code`; the numbers are a contract and are never renumbered."""

    STARTING = 0
    NOT_ENROLLED = 1
    LEARNING = 2
    NORMAL = 3
    ALARM = 4
    NOT_RUNNING = 5
    NO_AUDIO = 6
    SIGNAL_FAULT = 7
    SENSOR_CHANGED = 8
    INHIBITED = 9
    STORAGE_FAULT = 10

    @property
    def label(self) -> str:
        """Return the state as it is written in payloads, e.g. `not-running`."""
        return self.name.lower().replace("_", "-")


class FaultKind(Enum):
    """Why a window's signal says nothing about the machine."""

    SILENCE = "silence"
    FLAT = "flat"
    DC = "dc"
    CLIPPING = "clipping"
    NOT_FINITE = "not-finite"


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A piece of one machine's sound, as a source delivers it."""

    machine: str
    samples: Samples  # (frames,) float32, mono, full scale = ±1
    rate_hz: int
    start_s: float  # stream time of the first sample, seconds
    recording: str | None = None  # file the samples come from; None when live
    recording_start_s: float = 0.0  # position of the first sample in that file, seconds
    gap: bool = False  # True: sound is missing (or another file begins) just before this block
    dropped_frames: int = 0  # frames lost just before this block
    last: bool = False  # True: the recording ends with this block, so its last window is right-aligned

    @property
    def end_s(self) -> float:
        """Return the stream time just after the last sample, seconds."""
        return self.start_s + len(self.samples) / self.rate_hz


@dataclass(frozen=True, slots=True)
class AudioLoss:
    """A source has no sound to give: absent, unplugged, stalled. It goes on trying."""

    machine: str
    at_s: float  # stream time, seconds
    reason: str  # one line for a person


@dataclass(frozen=True, slots=True)
class Window:
    """One window of contiguous sound at the bundle's sample rate."""

    machine: str
    samples: Samples  # (frames,) float32, mono, full scale = ±1
    rate_hz: int
    start_s: float  # stream time of the first sample, seconds
    end_s: float  # stream time just after the last sample, seconds
    recording: str | None = None
    recording_start_s: float = 0.0  # position in the recording, seconds


@dataclass(frozen=True, slots=True)
class SignalFault:
    """A window that is not scored because its signal is not the machine's sound."""

    machine: str
    kind: FaultKind
    start_s: float
    end_s: float
    detail: str  # one line with the measured figure


@dataclass(frozen=True, slots=True)
class Embedding:
    """A window's raw vector, not normalized in any way, and the bundle that made it."""

    vector: Vector  # (dim,) float32
    bundle_hash: str  # hex SHA-256


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One of the k nearest normals of a window."""

    normal_id: int
    distance: float  # >= 0, in the generation's metric
    recording: str
    recording_start_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """A window's anomaly score, eq. 1 of the paper: a mean distance, >= 0, higher = more anomalous."""

    machine: str
    value: float
    threshold: float  # > 0; anomalous when value > threshold
    generation: int
    neighbours: tuple[Neighbour, ...]  # nearest first
    start_s: float  # the window's span in stream time, seconds
    end_s: float
    level_dbfs: float  # RMS level of the window, dB re full scale
    # What four windows in five of an hour stay below when healthy, > 0; None: too little was learnt to know.
    low_line: float | None = None

    @property
    def ratio(self) -> float:
        """Return score / threshold: above 1 is anomalous, readable without knowing the metric."""
        return self.value / self.threshold

    @property
    def exceeds(self) -> bool:
        """Return True when the window is anomalous (strictly above the threshold, as in the paper)."""
        return self.value > self.threshold

    @property
    def above_low_line(self) -> bool:
        """Return True when the score lies above the low line; False where none is known."""
        return self.low_line is not None and self.value > self.low_line


class Condition(IntEnum):
    """How a machine sounds, as it is published; the numbers are a contract and are never renumbered."""

    USUAL = 1
    CHANGED = 2  # for an hour: advisory, no alarm
    ALARM = 3
    GROWING = 4  # an alarm whose score rises over its life

    @property
    def label(self) -> str:
        """Return the condition in words."""
        return ("as usual", "changed", "alarm", "growing alarm")[self - 1]


class EventKind(Enum):
    """What happened to an alarm, or to an episode that is none yet."""

    CHANGED = "changed"  # an episode of level 2 began; no alarm
    START = "start"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True, slots=True)
class Episode:
    """How long and how far a machine has changed, as its long memory said at an event."""

    seq: int  # of its messages: 0 for the start, then counting up
    since_ms: int  # wall clock of its start, milliseconds since 1970-01-01 UTC
    windows: int = 0  # disjoint ones above the low line ...
    of: int = 0  # ... of the last so many
    memory_s: float = 0.0  # which are so long, seconds
    times_line: float = 1.0  # median of those windows' score / low line, >= 0


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """A transition of one alarm, or of the episode it came from; `(alarm_id, seq)` identifies an alarm's for ever."""

    machine: str
    alarm_id: str  # UUID4, the same from start to end and across restarts, and from an episode to its alarm
    seq: int  # of its alerts: 0 for the start of the alarm, then counting up; -1: it is no alarm yet
    kind: EventKind
    at_s: float  # stream time, seconds
    at_ms: int  # wall clock, milliseconds since 1970-01-01 UTC; a label only
    since_ms: int  # wall clock of the alarm's start; while it is none, of the episode's
    score: float  # of the confirming window (start), the highest since the last event (update, end)
    peak_score: float  # highest since the start
    peak_ratio: float  # highest score / threshold since the start, each with the threshold of its moment
    threshold: float
    generation: int
    level_dbfs: float
    neighbours: tuple[Neighbour, ...]  # of the window that confirmed the start
    window_start_s: float  # the window that confirmed the start, stream time, seconds
    window_end_s: float
    reason: str  # one line: why it was raised, updated or ended
    hint: str = ""  # one line: what else to look at; empty: nothing
    episode: Episode | None = None  # None: it began as an alarm
    first_ratio: float | None = None  # median score / threshold of the alarm's first interval; None: not over yet
    growing: bool = False

    @property
    def raised(self) -> bool:
        """Return whether it is, or was, an alarm."""
        return self.seq >= 0

    @property
    def begins(self) -> bool:
        """Return whether it is the first event under its id."""
        return self.kind is EventKind.CHANGED or (
            self.kind is EventKind.START and (self.episode is None or self.episode.seq == 0)
        )

    @property
    def condition(self) -> Condition:
        """Return the machine's condition after it."""
        if self.kind is EventKind.END:
            return Condition.USUAL
        if not self.raised:
            return Condition.CHANGED
        return Condition.GROWING if self.growing else Condition.ALARM


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured way in which a sound differs from the machine's normal ones."""

    name: str  # of the descriptor, kebab-case and stable: `tone`, `impulses`, `band-level`, …
    text: str  # a clause with figures and units, e.g. `impulses at 87 per second, normally none`
    value: float | None  # of the anomalous sound, in `unit`; None: it has none
    normal: float | None  # median of the nearest normals, in `unit`; None: they have none
    unit: str  # `dB`, `Hz`, `1/s`; `1` for ratios and counts
    deviation: float  # >= 0, the difference over the spread of all normals; 1 = just stands out, higher = stronger
    band_hz: tuple[float, float] | None = None  # where it is in frequency
    times_s: tuple[tuple[float, float], ...] = ()  # where it is in the window, seconds from its start


@dataclass(frozen=True, slots=True)
class Repetition:
    """A regular swing of the sound that made the largest part of a score."""

    band_hz: tuple[float, float]  # where it is in frequency
    per_s: tuple[float, float]  # between which rates it is, 1/s
    deviation: float  # >= 1, of its line's height over the normals' spread; 1 = just stands out


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an alarm's sound differs from its nearest normals, by one method; or why that cannot be said."""

    alarm_id: str
    machine: str
    seq: int  # 0 for the alarm's first explanation, then counting up; `(alarm_id, seq)` identifies it
    method: str  # `measured`, or a worded one: `text-decoder`, `zero-shot`, `combination`, `measured-worded`
    generation: int  # which learnt state of the machine it compares with
    text: str | None  # None: unavailable
    reason: str = ""  # why it is unavailable
    findings: tuple[Finding, ...] = ()  # largest first
    caption: str | None = None  # of the anomalous window, as the bundle's decoder words it
    model: str | None = None  # of the LLM that worded it
    prompt_version: str | None = None
    format_ok: bool | None = None  # False: the LLM did not keep to the form it was asked for
    latency_s: float | None = None  # from the alarm to the explanation, seconds


class Direction(Enum):
    """Where a machine's scores go."""

    RISING = "rising"
    FALLING = "falling"
    STEADY = "steady"


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a line would reach the threshold if it goes on, seconds since 1970-01-01 UTC; 90 % interval of its slope."""

    at_s: float
    earliest_s: float
    latest_s: float


@dataclass(frozen=True, slots=True)
class Trend:
    """A level of scores that became a line at one moment: the line, in the logarithm of score / threshold."""

    direction: Direction
    since_s: float  # when the line begins, seconds since 1970-01-01 UTC
    slope_per_s: float  # of ln(score)
    low_per_s: float  # its 90 % interval; -inf and inf: too few independent medians to say
    high_per_s: float
    ratio: float  # score / threshold at the line's end
    medians: int  # that it was found from
    forecast: Forecast | None  # None: it does not rise, has reached the threshold, or nobody can say

    def growth_percent(self, per_s: float) -> tuple[float, float | None, float | None]:
        """Return by how many per cent the score grows in `per_s` seconds, and the interval of that; None: unbounded."""
        slope, low, high = (
            None if math.isinf(each) else 100 * math.expm1(min(each * per_s, _MOST_GROWTH))
            for each in (self.slope_per_s, self.low_per_s, self.high_per_s)
        )
        return slope or 0.0, low, high


@dataclass(frozen=True, slots=True)
class MachineTrends:
    """A machine's trends on two scales, of the scores that its active generation gave."""

    machine: str
    generation: int | None  # None: not enrolled
    hours: Trend | None  # of 10-minute medians over 12 hours; None: too few
    days: Trend | None  # of daily medians over a year; None: too few

    @property
    def rising(self) -> bool:
        """Return whether the scores rise on one of the scales."""
        return any(each and each.direction is Direction.RISING for each in (self.hours, self.days))
