"""`{db}_alerts`: what wants attention is posted once, and once more when it is over, to a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.sensors.alerts import Memory
from embedding_assets.factory import build_definitions
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.settings import load_settings
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, add_run, open_world, texts, tick
from embedding_assets_tests.deltas import at

SENSOR = "lines_alerts"


@dataclass
class Receiver:
    """A server that takes what is posted, or answers with another status."""

    url: str
    posted: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    def taken(self) -> list[dict[str, Any]]:
        """What was posted since the last look."""
        found, self.posted[:] = list(self.posted), []
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.status == 200:
                found.posted.append(body)
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            """Nothing is logged."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/secret-path-of-the-hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def shape() -> str:
    """The shape of what is posted."""
    return "json"


@pytest.fixture
def world(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
    receiver: Receiver,
    shape: str,
) -> Iterator[World]:
    """A world that posts alerts."""
    settings = {
        "EMBEDDING_ASSETS_WEBHOOK_URL": receiver.url,
        "EMBEDDING_ASSETS_WEBHOOK_SHAPE": shape,
        "EMBEDDING_ASSETS_FRESH_SECONDS": "3600",
    }
    with open_world(stack, aws, openai_clients[1], tmp_path, **settings) as opened:
        yield opened


def test_a_failed_batch_is_posted_once_and_once_more_when_it_is_over(world: World, receiver: Receiver) -> None:
    """A second one that fails is posted alone; over is the kind as a whole."""
    world.put_row("good", submitted_at=datetime.now(UTC).isoformat())
    first = tick(world, SENSOR)
    assert (first.skip_message, receiver.taken()) == ("0 alerts posted", [])
    world.put_row("bad", status="FAILED", GSI1PK="STATUS#FAILED", error="it was refused")
    second = tick(world, SENSOR, first.cursor)
    [alert] = receiver.taken()
    assert (alert["event"], alert["database"], alert["kind"], alert["names"]) == (
        "raised",
        "lines",
        "ended",
        ["bad"],
    )
    assert alert["line"] == "ended: bad: it was refused"
    assert alert["command"] == "embedding-assets status --batch bad"
    assert tick(world, SENSOR, second.cursor).skip_message == "0 alerts posted"
    world.put_row("worse", status="FAILED", GSI1PK="STATUS#FAILED", error="it was refused too")
    third = tick(world, SENSOR, second.cursor)
    assert [alert["names"] for alert in receiver.taken()] == [["worse"]]
    for batch_id in ("bad", "worse"):
        world.services.ledger.note_resubmission(world.services.ledger.get(batch_id), f"{batch_id}-again")
    fourth = tick(world, SENSOR, third.cursor)
    assert [(alert["event"], alert["kind"], alert["count"]) for alert in receiver.taken()] == [
        ("over", "ended", 2)
    ]
    assert tick(world, SENSOR, fourth.cursor).skip_message == "0 alerts posted"


def test_failed_requests_of_a_published_batch(world: World, receiver: Receiver) -> None:
    """Also those of a batch that is COMPLETED: the version says how many have no embedding."""
    records = texts("a", 3)
    world.plant("some", records, answered=records[:1], row={"submitted_at": at(0).isoformat()})
    world.ingest()
    assert world.row("some")["status"] == "COMPLETED"
    found = tick(world, SENSOR)
    [alert] = receiver.taken()
    assert (alert["kind"], alert["names"]) == ("not embedded", ["some"])
    assert "0 failed, 2 unfinished" in alert["line"]
    assert Memory.of(found.cursor).incomplete == ["some"]
    assert tick(world, SENSOR, found.cursor).skip_message == "0 alerts posted"


def test_what_is_not_taken_is_posted_again(world: World, receiver: Receiver) -> None:
    """The tick says so, without the address."""
    world.put_row("bad", status="FAILED", GSI1PK="STATUS#FAILED", error="no")
    receiver.status = 500
    first = tick(world, SENSOR)
    assert first.skip_message == "0 alerts posted; the webhook answered 500"
    receiver.status = 200
    assert tick(world, SENSOR, first.cursor).skip_message == "1 alerts posted"
    assert [alert["names"] for alert in receiver.taken()] == [["bad"]]


def test_a_failed_run_is_over_with_the_next_good_one(world: World, receiver: Receiver) -> None:
    """The latest finished run of the ingest job counts."""
    add_run(world.instance, "20260102T120000Z-00000001", status=dg.DagsterRunStatus.FAILURE)
    first = tick(world, SENSOR)
    [alert] = receiver.taken()
    assert (alert["kind"], alert["event"]) == ("run failed", "raised")
    add_run(world.instance, "20260102T120000Z-00000002", status=dg.DagsterRunStatus.SUCCESS)
    tick(world, SENSOR, first.cursor)
    assert [(alert["kind"], alert["event"]) for alert in receiver.taken()] == [("run failed", "over")]


def test_a_version_that_is_too_old_while_batches_wait(world: World, receiver: Receiver) -> None:
    """Without a batch that waits an old version is as fresh as can be."""
    world.plant("a", texts("a", 1))
    world.ingest()
    key = "lines/snapshot/latest/manifest.json"
    old = {**world.json(key), "created_at": "2026-01-02T00:00:00Z"}
    world.services.store.put(key, json.dumps(old).encode())
    first = tick(world, SENSOR)
    assert [alert["kind"] for alert in receiver.taken()] == []
    world.put_row("waits", submitted_at=at(0).isoformat())
    tick(world, SENSOR, first.cursor)
    assert "not fresh" in [alert["kind"] for alert in receiver.taken()]


@pytest.mark.parametrize("shape", ["slack"])
def test_the_shape_that_slack_takes(world: World, receiver: Receiver) -> None:
    """One text."""
    world.put_row("bad", status="FAILED", GSI1PK="STATUS#FAILED", error="no")
    tick(world, SENSOR)
    assert receiver.taken() == [{"text": "lines: ended: bad: no. Next: `embedding-assets status --batch bad`"}]


def test_without_a_webhook_there_is_no_sensor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ticks for nobody; the address is in no text of the settings."""
    assert "secret-path" not in repr(load_settings())
    names = {sensor.name for sensor in world.defs.sensors or ()}
    assert {"lines_alerts", "words_alerts"} <= names
    monkeypatch.delenv("EMBEDDING_ASSETS_WEBHOOK_URL")
    without = {sensor.name for sensor in build_definitions().sensors or ()}
    assert names - without == {"lines_alerts", "words_alerts"}
