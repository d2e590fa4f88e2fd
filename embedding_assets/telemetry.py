"""Metrics and traces by OpenTelemetry, off unless its own variables name where they go.

One trace for each execution: its id comes from the execution's, so that steps in different processes are in one.
What is recorded is sent when a stage ends, because the process of a step may end then. A failure to send is logged
by OpenTelemetry and stops nothing.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from embedding_assets.errors import SettingsError
from embedding_assets.tls import check_addresses

ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
PROTOCOLS = (
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
)
WITHOUT_TLS = (
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
)
"""With `true` an endpoint without a scheme has no TLS."""
GRPC = "grpc"
SERVICE = "embedding-assets"
FLUSH_MILLISECONDS = 5_000

Attributes = Mapping[str, str | int | float | bool]

COUNTERS = {
    "embedding_assets.embeddings": ("{embedding}", "Embeddings that were polled."),
    "embedding_assets.requests.failed": ("{request}", "Requests that failed."),
    "embedding_assets.requests.unfinished": ("{request}", "Requests without an answer."),
    "embedding_assets.tokens": ("{token}", "Tokens of batches that were marked."),
    "embedding_assets.cost": ("USD", "Estimated price of batches that were marked."),
    "embedding_assets.batches.marked": ("{batch}", "Batches that got their final status."),
    "embedding_assets.published.bytes": ("By", "Bytes of published versions."),
}
HISTOGRAMS = {
    "embedding_assets.stage.duration": ("s", "How long a stage of an execution took."),
    "embedding_assets.publication.lag": ("s", "From the end of a batch at OpenAI to its publication."),
    "embedding_assets.lock.wait": ("s", "How long a merge waited for the lock."),
}
GAUGES = {
    "embedding_assets.backlog.batches": ("{batch}", "Live batches."),
    "embedding_assets.backlog.age": ("s", "Age of the oldest live batch."),
}
"""Name, unit and description of everything that is recorded."""


class Telemetry:
    """What records nothing: telemetry is off."""

    @contextmanager
    def stage(self, name: str, database: str, execution_id: str) -> Iterator[None]:
        """A stage of an execution: a span of its trace, and a duration. Everything recorded is sent at its end."""
        yield

    def execution(self, database: str, execution_id: str, began: datetime) -> None:
        """The whole of an execution, from its plan until now: the span that those of its stages are in."""

    def record(self, name: str, value: float, **attributes: str | int | float | bool) -> None:
        """Record a value under one of the names above."""

    def flush(self) -> None:
        """Send what was recorded."""

    def close(self) -> None:
        """Send what was recorded, for the last time."""


class Recording(Telemetry):
    """What records and sends."""

    def __init__(self, spans: Any, metrics: Any) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        own = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE}
        resource = Resource.create({**own, "service.instance.id": uuid.uuid4().hex})
        self._ids = _ids()
        self._traces = TracerProvider(resource=resource, id_generator=self._ids)
        self._traces.add_span_processor(BatchSpanProcessor(spans))
        self._metrics = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics)])
        self._tracer = self._traces.get_tracer(SERVICE)
        meter = self._metrics.get_meter(SERVICE)
        self._instruments: dict[str, Any] = {}
        for make, described in (
            (meter.create_counter, COUNTERS),
            (meter.create_histogram, HISTOGRAMS),
            (meter.create_gauge, GAUGES),
        ):
            for name, (unit, line) in described.items():
                self._instruments[name] = make(name, unit=unit, description=line)

    @contextmanager
    def stage(self, name: str, database: str, execution_id: str) -> Iterator[None]:
        attributes = {"embedding_assets.database": database, "embedding_assets.execution_id": execution_id}
        started = time.monotonic()
        try:
            with self._tracer.start_as_current_span(name, context=_root(execution_id), attributes=attributes):
                yield
        finally:
            seconds = time.monotonic() - started
            self.record("embedding_assets.stage.duration", seconds, database=database, stage=name)
            self.flush()

    def execution(self, database: str, execution_id: str, began: datetime) -> None:
        attributes = {"embedding_assets.database": database, "embedding_assets.execution_id": execution_id}
        start = int(began.timestamp() * 1e9)
        with self._ids.these(trace_id_of(execution_id), _root_id(execution_id)):
            span = self._tracer.start_span(
                "execution", context=_nowhere(), attributes=attributes, start_time=start
            )
        span.end()

    def record(self, name: str, value: float, **attributes: str | int | float | bool) -> None:
        instrument = self._instruments[name]
        if name in COUNTERS:
            instrument.add(value, attributes)
        elif name in HISTOGRAMS:
            instrument.record(value, attributes)
        else:
            instrument.set(value, attributes)

    def flush(self) -> None:
        self._traces.force_flush(FLUSH_MILLISECONDS)
        self._metrics.force_flush(FLUSH_MILLISECONDS)

    def close(self) -> None:
        self._traces.shutdown()
        self._metrics.shutdown()


def telemetry() -> Telemetry:
    """The telemetry that the environment asks for.

    Raises SettingsError if its protocol needs another package, or if an endpoint has no TLS and is not allowed to.
    """
    if not _endpoints():
        return Telemetry()
    return _recording(os.getpid(), tuple(sorted(_variables())))


def check_endpoints() -> None:
    """Raise SettingsError if telemetry would be sent to another machine without TLS."""
    without_tls = any(os.environ.get(name, "").lower() == "true" for name in WITHOUT_TLS)
    for name, endpoint in _endpoints().items():
        check_addresses(name, f"http://{endpoint}" if without_tls and "://" not in endpoint else endpoint)


def _endpoints() -> dict[str, str]:
    """Where telemetry goes, by variable; empty if it is off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return {}
    return {name: value for name in ENDPOINTS if (value := os.environ.get(name))}


@cache
def _recording(process: int, variables: tuple[tuple[str, str], ...]) -> Recording:
    """One for each process and set of variables: a forked child must not use its parent's threads."""
    check_endpoints()
    protocol = next((value for name, value in variables if name in PROTOCOLS), GRPC)
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return Recording(OTLPSpanExporter(), OTLPMetricExporter())
    try:
        from opentelemetry.exporter.otlp.proto.http import metric_exporter, trace_exporter
    except ImportError as error:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} needs another package: "
            "pip install opentelemetry-exporter-otlp-proto-http (grpc needs none)"
        ) from error
    return Recording(trace_exporter.OTLPSpanExporter(), metric_exporter.OTLPMetricExporter())


def _variables() -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in os.environ.items() if name.startswith("OTEL_"))


def trace_id_of(execution_id: str) -> int:
    """The trace of an execution, 128 bits."""
    return int.from_bytes(hashlib.sha256(execution_id.encode()).digest()[:16], "big")


def _root_id(execution_id: str) -> int:
    return int.from_bytes(hashlib.sha256(execution_id.encode()).digest()[16:24], "big")


def _root(execution_id: str) -> Any:
    """The context in which each stage is a child of the execution's span, which the last stage sends."""
    from opentelemetry import trace

    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.SpanContext(
        trace_id_of(execution_id), _root_id(execution_id), is_remote=True, trace_flags=flags
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


def _nowhere() -> Any:
    from opentelemetry.context import Context

    return Context()


def _ids() -> Any:
    """Random ids, but for a span that is to have certain ones."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def __init__(self) -> None:
            self._given = threading.local()

        @contextmanager
        def these(self, trace_id: int, span_id: int) -> Iterator[None]:
            self._given.ids = (trace_id, span_id)
            try:
                yield
            finally:
                self._given.ids = None

        def generate_trace_id(self) -> int:
            given = getattr(self._given, "ids", None)
            return given[0] if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = getattr(self._given, "ids", None)
            return given[1] if given else super().generate_span_id()

    return Ids()
