"""Prometheus metrics: the node's figures and states, served over HTTP on the address it is given."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import accumulate
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from edge_monitor.pipeline.timed_encoder import BOUNDS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from edge_monitor.config.settings import MetricsSettings
    from edge_monitor.pipeline.timed_encoder import TimedEncoder
    from edge_monitor.runtime.node_figures import NodeFigures

log = structlog.get_logger()
_PREFIX = "edge_monitor_"
_PATIENCE_S = 5.0  # a scraper that neither asks nor reads for so long is gone

# Per machine: name, what it means, field of MachineStates.snapshot(). A machine without the figure has no such line.
_PER_MACHINE = (
    ("state_code", "State as in the MQTT contract: 3 normal, 4 alarm, 6 no-audio, ...", "state_code"),
    ("condition", "1 as usual, 2 changed, 3 alarm, 4 alarm that grows.", "condition"),
    ("score", "Last anomaly score: a distance, higher is more anomalous.", "score"),
    ("threshold", "Anomalous when the score is above.", "threshold"),
    ("level_dbfs", "RMS level of the last window, dB re full scale.", "level_dbfs"),
    ("lag_seconds", "From the end of the last scored window's sound to its score; live sound only.", "lag_s"),
    ("heard_ago_seconds", "Time since a window was last judged; deafness shows here.", "heard_ago_s"),
)


@dataclass(eq=False)
class NodeCollector(Collector):
    """Makes every metric anew at each scrape, in the scraper's thread; the pipeline's threads do nothing for it."""

    figures: NodeFigures
    encoder: TimedEncoder
    machines: Callable[[], list[dict[str, Any]]]

    def describe(self) -> list[Metric]:
        """Return nothing: a registry need not observe the daemon to know the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; labels hold machine names only."""
        for figure, value in self.figures:
            if figure.metric:
                family = CounterMetricFamily if figure.grows else GaugeMetricFamily
                yield family(_PREFIX + figure.metric, figure.meaning, value=float(value or 0))
        yield self._encoding()
        yield from _of_machines(self.machines())

    def _encoding(self) -> Metric:
        bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self.encoder.windows)), strict=True))
        family = HistogramMetricFamily(_PREFIX + "encoder_seconds", "Time the encoder took for a window.")
        family.add_metric([], buckets, sum_value=self.encoder.total_s)
        return family


def _of_machines(machines: list[dict[str, Any]]) -> Iterator[Metric]:
    windows = CounterMetricFamily(_PREFIX + "windows", "Windows judged.", labels=["machine"])
    alarm = GaugeMetricFamily(_PREFIX + "alarm", "1 while an alarm is active.", labels=["machine"])
    for each in machines:
        windows.add_metric([each["machine"]], each["windows"])
        alarm.add_metric([each["machine"]], float(each["alarm_id"] is not None))
    yield windows
    yield alarm
    for name, meaning, field in _PER_MACHINE:
        family = GaugeMetricFamily(_PREFIX + name, meaning, labels=["machine"])
        for each in machines:
            if each[field] is not None:
                family.add_metric([each["machine"]], each[field])
        yield family


class MetricsServer:
    """Serves the metrics until closed. A port that is taken is logged, no reason not to listen to machines."""

    def __init__(self, settings: MetricsSettings, collector: Collector) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        self._server: _Server | None = None
        try:
            self._server = _Server((settings.host, settings.port), _Request)
        except OSError as error:
            log.error("metrics.not_served", host=settings.host, port=settings.port, reason=error.strerror or str(error))
            return
        self._server.set_app(make_wsgi_app(registry))
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True).start()
        log.info("metrics.served", host=settings.host, port=settings.port)

    def close(self) -> None:
        """Free the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        """Bind without asking a name server for this box's name, as the base class does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Request(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing: a scrape every few seconds is no event."""
