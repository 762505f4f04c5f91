"""How faint a fault is heard: fault sounds mixed into enrolled sound, louder and fainter, and scored held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.fault_sound import band_power, fault_band_hz, fault_sound, floor_gain, gain_over
from edge_monitor.capture.simulator_faults import ADDED_FAULTS
from edge_monitor.errors import NormalsError
from edge_monitor.memory.audibility import HIGHEST_DB, LOWEST_DB, Audibility, FaultLevel
from edge_monitor.memory.chance import exceedance
from edge_monitor.memory.leaveout import others_than
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.records import LOW_LINE_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_monitor.memory.calibration import Calibration
    from edge_monitor.memory.leaveout import Layout
    from edge_monitor.memory.scaler import MetricSpec
    from edge_monitor.memory.scoring_methods import Scorer
    from edge_monitor.records import Samples, Vector

TRIALS = 20  # windows at each level: half of the faults' spread of 3 dB between windows is known to 1 dB
LOSS_DB = 6.0  # of flow: the noise falls to half its amplitude
_MOST_FOLDS = 8  # each fits the normals once; more blocks share them


class HeldOutScorer:
    """Scores sound that was made of enrolled windows as if their blocks had never been heard.

    Twice, and the higher score counts, for either errs low: the memory without a block, because each of the fewer
    normals vouches for more around it (by local density, at 7 normals 2 dB of a loud fault's level); the whole memory,
    because it has heard the very window.
    Raises NormalsError where fewer than k normals would remain.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],  # (n, dim) raw
        layout: Layout,  # of these n
        spec: MetricSpec,
        origin: Sequence[tuple[int, int]],  # of each window: recording and block
        *,
        k: int,
        window_s: float,
    ) -> None:
        blocks = sorted(set(origin))
        fold_of = {block: number % _MOST_FOLDS for number, block in enumerate(blocks)}
        self._fold = np.array([fold_of[block] for block in origin])  # (windows,)
        self._whole = fit(None, vectors, spec, k)
        self._scorers: list[Scorer] = []
        for fold in range(min(len(blocks), _MOST_FOLDS)):
            held = np.zeros(len(vectors), dtype=bool)
            for recording, block in (each for each in blocks if fold_of[each] == fold):
                held |= (layout.recording == recording) & (layout.block == block)
            others = others_than(layout, held, k=k, window_s=window_s)
            if others.sum() < k:
                raise NormalsError("too little normal sound", hint="enrol more")
            self._scorers.append(fit(None, vectors[others], spec, k))

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the score of each window's vector, (windows, dim) raw, (windows,)."""
        scores = np.empty(len(vectors))
        for fold, scorer in enumerate(self._scorers):
            scores[self._fold == fold] = scorer.scores(vectors[self._fold == fold])
        return np.maximum(scores, self._whole.scores(vectors))


@dataclass(frozen=True, slots=True)
class Shares:
    """How many windows of a sound lie above the two lines that decide, 0 to 1."""

    threshold: float
    low_line: float  # 0 where none is known


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """What hears: the bundle, the memory without a window's own block, and what decides."""

    embed: Callable[[Samples], Vector]  # a window's raw vector, (dim,)
    scores: Callable[[NDArray[np.float32]], NDArray[np.float64]]  # of HeldOutScorer
    calibration: Calibration
    rate_hz: int

    def shares(self, sounds: Iterable[Samples]) -> Shares:
        """Return what becomes of as many windows as were enrolled, (frames,) each, in their order."""
        scores = self.scores(np.stack([self.embed(np.clip(each, -1.0, 1.0)) for each in sounds]))
        line = self.calibration.low_line
        above = 0.0 if line is None else float((scores > line.value).mean())
        return Shares(float((scores > self.calibration.threshold).mean()), above)


def measure(windows: Sequence[Samples], listener: Listener) -> Generator[float, None, Audibility]:
    """Return how faint each fault is heard in windows of enrolled sound, (frames,) each; yield what is done, 0 to 1.

    Half of a fault's seeds raise an alarm where a window exceeds the threshold so often that m of n do in half of all
    cases; within three hours a fault that stays does where the wanted share of windows lies above the low line. Each
    window has another stretch of the fault, the same at each level.
    """
    calibration = listener.calibration
    half = exceedance(calibration.raise_m, calibration.raise_n, 0.5)

    def by_threshold(shares: Shares) -> bool:
        return shares.threshold >= half

    def by_low_line(shares: Shares) -> bool:
        return shares.low_line >= LOW_LINE_SHARE

    levels = []
    for number, kind in enumerate(ADDED_FAULTS):
        trial = _Trial(windows, kind, listener)
        for done in trial.search(by_threshold, by_low_line):
            yield (number + done) / len(ADDED_FAULTS)
        three_hours_db = None if calibration.low_line is None else trial.faintest_db(by_low_line)
        levels.append(FaultLevel(kind, trial.band_hz, trial.faintest_db(by_threshold), three_hours_db))
    gain = floor_gain(windows, listener.rate_hz, LOSS_DB)
    still = listener.shares(np.fft.irfft(np.fft.rfft(each) * gain, len(each)).astype(np.float32) for each in windows)
    return Audibility(
        faults=tuple(levels),
        no_flow=by_threshold(still) or by_low_line(still),
        windows=len(windows),
        minute_s=calibration.raise_n * calibration.window_s,
        low_line=calibration.low_line is not None,
    )


class _Trial:
    """One fault, louder and fainter over windows of enrolled sound."""

    def __init__(self, windows: Sequence[Samples], kind: str, listener: Listener) -> None:
        rate_hz = listener.rate_hz
        self.band_hz = fault_band_hz(kind, rate_hz)
        self._windows, self._listener = windows, listener
        self._faults = [fault_sound(kind, take, len(each), rate_hz) for take, each in enumerate(windows)]
        self._fault_power, self._own_power = (
            float(np.mean([band_power(each, rate_hz, self.band_hz) for each in sounds]))
            for sounds in (self._faults, windows)
        )
        self._known: dict[int, Shares] = {}  # by level, dB

    def search(self, *rules: Callable[[Shares], bool]) -> Generator[float, None, None]:
        """Find out by bisection from which level on each rule holds; yield what is done, 0 to 1."""
        for rule in rules:
            while (level_db := self._next_db(rule)) is not None:
                self._known[level_db] = self._listener.shares(self._mixed(level_db))
                yield len(self._known) / (len(self._known) + len(rules))

    def faintest_db(self, rule: Callable[[Shares], bool]) -> int | None:
        """Return the faintest level at which a rule is known to hold; None: at no level that was tried."""
        return min((level_db for level_db, shares in self._known.items() if rule(shares)), default=None)

    def _next_db(self, rule: Callable[[Shares], bool]) -> int | None:
        """Return the level to be tried next; None: it is found."""
        known = self.faintest_db(rule)
        high = HIGHEST_DB + 1 if known is None else known
        low = max((each for each in self._known if each < high), default=LOWEST_DB - 1)
        return None if high - low == 1 else (low + high) // 2

    def _mixed(self, level_db: float) -> Iterator[Samples]:
        gain = np.float32(gain_over(self._fault_power, self._own_power, level_db))
        return (window + gain * fault for window, fault in zip(self._windows, self._faults, strict=True))
