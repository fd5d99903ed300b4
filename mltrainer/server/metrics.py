"""Figures for a monitor, as Prometheus reads them: requests by route, and every part of the installation."""

from collections.abc import Iterator

from jupyter_server.base.handlers import APIHandler
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from tornado import web
from tornado.ioloop import IOLoop

from mltrainer.operations import health
from mltrainer.server.gate import Gate

PATH = "/api/metrics"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)  # seconds
REGISTRY = CollectorRegistry()
REQUESTS = Histogram(
    "mltrainer_request_seconds", "Time of a request", ["route", "method", "status"], registry=REGISTRY, buckets=BUCKETS
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Parts:
    """Every part of the installation, measured when it is asked for."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Its figure, and its state as a number: 0 ok, 1 a warning, 2 failed."""
        figures = GaugeMetricFamily("mltrainer_part", "Figure of a part, in its unit", labels=["part", "unit"])
        states = GaugeMetricFamily("mltrainer_part_state", "0 ok, 1 warning, 2 failed", labels=["part"])
        for part in health.health():
            figures.add_metric([part.name, part.unit], part.figure)
            states.add_metric([part.name], health.STATES.index(part.state))
        yield figures
        yield states


REGISTRY.register(Parts())


def observe(handler: web.RequestHandler, seconds: float) -> None:
    """Count a request under its route, never under its path: paths are as many as visitors care to invent."""
    route = getattr(getattr(handler, "route", None), "path", type(handler).__name__)
    method = handler.request.method if handler.request.method in METHODS else "other"
    REQUESTS.labels(str(route), str(method), str(handler.get_status())).observe(seconds)


class Metrics(Gate, APIHandler):
    """All of it, for the admin."""

    permission = "metrics:read"

    async def get(self) -> None:
        """Measure in a thread, so that nobody else waits."""
        body = await IOLoop.current().run_in_executor(None, generate_latest, REGISTRY)
        self.set_header("Cache-Control", "no-store")
        self.finish(body, set_content_type=CONTENT_TYPE_LATEST)


DESCRIPTION = {
    "operationId": "get_metrics",
    "summary": "Figures for a monitor, in the text format of Prometheus",
    "x-permission": Metrics.permission,
}
