"""Thresholds that others set from normal scores alone, beside the product's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from edge_monitor.memory.calibration import CalibrationSettings, allowed_exceedance, calibrate_scores
from edge_monitor.memory.calibration import not_refuted as least_not_refuted
from edge_monitor.memory.coverage import Coverage
from edge_monitor.memory.tail import fit_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_monitor.memory.calibration import Calibration
    from edge_monitor.memory.leaveout import Layout

    Array = NDArray[np.float64]
    # scores (windows,), where they come from, what is wanted -> a threshold for each wanted rate; inf: there is none
    Method = Callable[[Array, Layout, Sequence[CalibrationSettings]], list[float]]

ENOUGH = Coverage(enough=True, sentence="")  # what the scores come from is not asked here
_TAIL = 0.95  # a generalized Pareto tail begins here


def product(score: Array, layout: Layout, settings: CalibrationSettings) -> Calibration:
    """Return what the product calibrates."""
    return calibrate_scores(score, layout, settings, ENOUGH)


def quantile(score: Array, _layout: Layout, wanted: Sequence[CalibrationSettings]) -> list[float]:
    """Take the scores' own quantile, windows taken as independent."""
    return [float(np.quantile(score, 1 - allowed_exceedance(each))) for each in wanted]


def gamma(score: Array, _layout: Layout, wanted: Sequence[CalibrationSettings]) -> list[float]:
    """Fit a gamma distribution to the scores, as the baseline of DCASE 2020 Task 2 does from 2021 on."""
    fitted = stats.gamma(*stats.gamma.fit(score))
    return [float(fitted.isf(allowed_exceedance(each))) for each in wanted]


def extreme_value(score: Array, _layout: Layout, wanted: Sequence[CalibrationSettings]) -> list[float]:
    """Fit a generalized Pareto distribution to the highest twentieth (peaks over threshold, Pickands 1975)."""
    begin = float(np.quantile(score, _TAIL))
    tail = score[score > begin] - begin
    if len(tail) < 5:
        return [math.inf] * len(wanted)
    fitted = stats.genpareto(*stats.genpareto.fit(tail, floc=0.0))
    parts = [allowed_exceedance(each) / (1 - _TAIL) for each in wanted]
    return [begin + float(fitted.isf(p)) if p < 1 else float(np.quantile(score, 1 - p * (1 - _TAIL))) for p in parts]


def conformal(score: Array, _layout: Layout, wanted: Sequence[CalibrationSettings]) -> list[float]:
    """Take the order statistic whose rank promises the rate for exchangeable windows (Vovk et al. 2005)."""
    ordered = np.sort(score)
    ranks = [math.ceil((len(score) + 1) * (1 - allowed_exceedance(each))) for each in wanted]
    return [float(ordered[rank - 1]) if rank <= len(score) else math.inf for rank in ranks]


def tail_only(score: Array, layout: Layout, wanted: Sequence[CalibrationSettings]) -> list[float]:
    """Take the product's log-normal tail, with every block as independent and without looking at alarms."""
    fit = fit_tail(score, layout.unit)
    parts = [allowed_exceedance(each, fit.dependence) for each in wanted]
    return [max(fit.quantile(p), least_not_refuted(score, p)) for p in parts]


def calibrated(score: Array, layout: Layout, wanted: Sequence[CalibrationSettings]) -> list[float]:
    """Take the product's threshold."""
    return [product(score, layout, each).threshold for each in wanted]


METHODS: dict[str, Method] = {
    "quantile": quantile,
    "gamma (DCASE)": gamma,
    "extreme value": extreme_value,
    "conformal": conformal,
    "log-normal tail": tail_only,
    "edge-monitor": calibrated,
}
