"""Prometheus metrics: one registry over the daemon's snapshots, served over HTTP on the address it is given."""

from __future__ import annotations

import threading
from itertools import accumulate
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from edge_monitor.pipeline.timed_encoder import BOUNDS_S
from edge_monitor.runtime.health import observe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from edge_monitor.config.settings import MetricsSettings
    from edge_monitor.runtime.daemon import Daemon

log = structlog.get_logger()
_PREFIX = "edge_monitor_"
_PATIENCE_S = 5.0  # a scraper that neither asks nor reads for so long is gone

# name, what it means, field of Health
_COUNTERS = (
    ("windows_dropped", "Windows not scored because scoring was too slow.", "windows_dropped"),
    ("frames_dropped", "Audio frames lost.", "frames_dropped"),
    ("alarms_not_stored", "Records of alarms that the disk never took.", "alarms_not_stored"),
    ("score_minutes_lost", "Minutes of scores that the disk never took.", "score_minutes_lost"),
    ("evidence_lost", "Alarms whose picture or sound could not be kept.", "evidence_lost"),
    ("outbox_parked", "Alerts and explanations the broker refused, ever.", "outbox_parked"),
    ("outbox_dropped", "Alerts and explanations lost at the outbox's cap or from memory, ever.", "outbox_dropped"),
    ("explanations_parked", "Of the refused ones, explanations.", "explanations_parked"),
    ("explanations_dropped", "Of the lost ones, explanations.", "explanations_dropped"),
    ("publish_errors", "Connections lost or not made, and messages refused.", "publish_errors"),
    ("connections", "Connections made to the broker.", "connections"),
    ("explanations_ok", "Explanations given.", "explanations_ok"),
    ("explanations_unavailable", "Alarms told that they cannot be explained.", "explanations_unavailable"),
    ("thread_restarts", "Threads that died and were begun anew.", "thread_restarts"),
    ("clock_steps", "Steps of the wall clock.", "clock_steps"),
)
_GAUGES = (
    ("uptime_seconds", "Time since the start.", "uptime_s"),
    ("resident_memory_bytes", "Resident memory.", "memory_bytes"),
    ("clock_synced", "1: the kernel says the wall clock is synchronized.", "clock_synced"),
    ("storage_fault", "1 while the disk fails.", "storage_fault"),
    ("outbox_rows", "Alerts and explanations that wait for the broker.", "outbox_rows"),
    ("outbox_oldest_seconds", "How long the oldest of them waits; 0: none does.", "outbox_oldest_s"),
    ("explanations_queued", "Explanations of these.", "explanations_queued"),
    ("explanations_waiting", "Explanations that are still to be given.", "explanations_waiting"),
)
# The same per machine; field of MachineStates.snapshot(). A machine that has no such figure has no such line.
_PER_MACHINE = (
    ("state_code", "State as in the MQTT contract: 3 normal, 4 alarm, 6 no-audio, ...", "state_code"),
    ("score", "Last anomaly score: a distance, higher is more anomalous.", "score"),
    ("threshold", "Anomalous when the score is above.", "threshold"),
    ("level_dbfs", "RMS level of the last window, dB re full scale.", "level_dbfs"),
    ("lag_seconds", "From the end of the last scored window's sound to its score; live sound only.", "lag_s"),
    ("heard_ago_seconds", "Time since a window was last judged; deafness shows here.", "heard_ago_s"),
)


class DaemonCollector(Collector):
    """Makes every metric anew at each scrape, in the scraper's thread; the pipeline's threads do nothing for it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def describe(self) -> list[Metric]:
        """Return nothing: a registry need not observe the daemon to know the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; labels hold machine names only."""
        health = observe(self._daemon)
        for name, meaning, field in _COUNTERS:
            yield CounterMetricFamily(_PREFIX + name, meaning, value=getattr(health, field))
        for name, meaning, field in _GAUGES:
            yield GaugeMetricFamily(_PREFIX + name, meaning, value=float(getattr(health, field) or 0))
        if self._daemon.link is not None:
            connected = GaugeMetricFamily(_PREFIX + "broker_connected", "1 while connected to the broker.")
            connected.add_metric([], float(self._daemon.link.health().connected))
            yield connected
        yield self._encoder()
        yield from _machines(self._daemon.board.snapshot())

    def _encoder(self) -> Metric:
        encoder = self._daemon.encoder
        bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(encoder.windows)), strict=True))
        family = HistogramMetricFamily(_PREFIX + "encoder_seconds", "Time the encoder took for a window.")
        family.add_metric([], buckets, sum_value=encoder.total_s)
        return family


def _machines(machines: list[dict[str, Any]]) -> Iterator[Metric]:
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

    def __init__(self, settings: MetricsSettings, daemon: Daemon) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(DaemonCollector(daemon))
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
