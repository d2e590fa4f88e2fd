"""Metrics and traces of an ingest, as a receiver of OpenTelemetry's protocol gets them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from embedding_assets import telemetry
from embedding_assets.errors import SettingsError
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts, tick


@dataclass
class Receiver:
    """What came in: spans, and the points of each metric."""

    spans: list[Any] = field(default_factory=list)
    points: dict[str, list[Any]] = field(default_factory=dict)

    def total(self, name: str) -> float:
        """The last value of a counter, or the sum of a histogram."""
        last = self.points[f"embedding_assets.{name}"][-1]
        return float(getattr(last, "as_int", 0) or getattr(last, "as_double", 0) or getattr(last, "sum", 0))


@pytest.fixture
def receiver() -> Iterator[tuple[str, Receiver]]:
    """A receiver, and its address."""
    found = Receiver()

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: object) -> Any:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found.spans.extend(scope.spans)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: object) -> Any:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        data = getattr(metric, metric.WhichOneof("data"))
                        found.points.setdefault(metric.name, []).extend(data.data_points)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(Traces(), server)
    add = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
    add(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", found
    server.stop(None).wait()


@pytest.fixture
def world(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
    receiver: tuple[str, Receiver],
) -> Iterator[World]:
    """A world whose figures go to the receiver."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver[0], "OTEL_EXPORTER_OTLP_INSECURE": "true"}
    with open_world(stack, aws, openai_clients[1], tmp_path, **settings) as opened:
        yield opened
        telemetry.telemetry().close()


def test_an_execution_is_one_trace_and_its_figures_are_sent(world: World, receiver: tuple[str, Receiver]) -> None:
    """A span for each stage within the execution's; what was embedded, marked, published and waited for."""
    _, found = receiver
    records = texts("a", 5)
    world.plant("some", records, answered=records[:3])
    [execution_id] = world.ingest().executions
    spans = {span.name: span for span in found.spans}
    assert spans.keys() == {"execution", "poll", "merge chunks", "final merge"}
    whole = spans.pop("execution")
    assert int.from_bytes(whole.trace_id, "big") == telemetry.trace_id_of(execution_id)
    assert whole.parent_span_id == b""
    assert {span.trace_id for span in spans.values()} == {whole.trace_id}
    assert {span.parent_span_id for span in spans.values()} == {whole.span_id}
    totals = [found.total(name) for name in ("embeddings", "requests.unfinished", "batches.marked")]
    assert totals == [3, 2, 1]
    assert found.total("published.bytes") == world.published().size
    stages = {
        attribute.value.string_value
        for point in found.points["embedding_assets.stage.duration"]
        for attribute in point.attributes
        if attribute.key == "stage"
    }
    assert stages == {"poll", "merge chunks", "final merge"}
    assert found.points["embedding_assets.publication.lag"]
    assert found.points["embedding_assets.lock.wait"]


def test_the_backlog_is_measured_at_each_tick(world: World, receiver: tuple[str, Receiver]) -> None:
    """How many batches are live, and the age of the oldest."""
    _, found = receiver
    world.put_row("old")
    tick(world, "lines_pending_batches")
    assert found.total("backlog.batches") == 1
    assert found.total("backlog.age") > 3600


def test_it_is_off_without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """And if OpenTelemetry's own switch says so."""
    for name in telemetry.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert type(telemetry.telemetry()) is telemetry.Telemetry
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert type(telemetry.telemetry()) is telemetry.Telemetry


def test_a_protocol_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the package."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(SettingsError, match="pip install opentelemetry-exporter-otlp-proto-http"):
        telemetry.telemetry()
