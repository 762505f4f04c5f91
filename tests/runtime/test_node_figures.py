"""Every figure of a node has one name, one source, and is published where its readers look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_monitor.deliver.payloads import STATUS_FIGURES
from edge_monitor.errors import EdgeMonitorError
from edge_monitor.runtime.node_figures import FIGURES, NodeFigures

if TYPE_CHECKING:
    from edge_monitor.runtime.node_figures import Read

SOURCES: dict[str, Read | None] = {figure.name: float for figure in FIGURES}


def test_everything_in_the_plant_s_status_is_a_figure() -> None:
    """Or the plant would read 0 for what nobody counts."""
    assert set(STATUS_FIGURES) <= NodeFigures(SOURCES).read().keys()
    assert len(STATUS_FIGURES) == 19


def test_names_are_used_once() -> None:
    """In the registry, and in Prometheus."""
    metrics = [figure.metric for figure in FIGURES if figure.metric]
    assert len(set(metrics)) == len(metrics) == 25
    assert len(SOURCES) == len(FIGURES)


def test_a_figure_that_nobody_counts_and_a_count_that_is_no_figure_are_refused() -> None:
    """At the start of the daemon, by name."""
    with pytest.raises(EdgeMonitorError, match="clock_steps, leaps"):
        NodeFigures({name: read for name, read in SOURCES.items() if name != "clock_steps"} | {"leaps": float})


def test_what_a_node_has_not_is_published_nowhere() -> None:
    """Without a broker nothing is said of its connection; `status` has no figure that is the plant's alone."""
    figures = NodeFigures(SOURCES | {"broker_connected": None})
    assert "broker_connected" not in figures.read()
    assert not {"alerts_queued", "broker_connected"} & figures.status().keys()
    assert "outbox_rows" in figures.status()
