"""The ledger: every live row is found, and every write is conditional and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from embedding_assets.databases import LINES, WORDS
from embedding_assets.errors import InputError, ItemError, NotFoundError, PreconditionError, ServiceError
from embedding_assets.ledger.batch_summary import LIVE, BatchSummary, Refused, Status, parse_instant
from embedding_assets.ledger.ledger import Ledger
from embedding_assets_tests.deltas import at

FOREIGN: dict[str, Any] = {"team": "receipts", "nested": {"a": [1, Decimal("0.5"), None]}, "flags": {"x", "y"}}


def foreign_row(batch_id: str, status: str = "PENDING", batch_type: str = "LINE_EMBEDDING", **more: Any) -> Any:
    """A row as another program writes it: the required attributes."""
    values = {
        "PK": f"BATCH#{batch_id}",
        "SK": "STATUS",
        "GSI1PK": f"STATUS#{status}",
        "GSI1SK": f"BATCH_TYPE#{batch_type}#BATCH_ID#{batch_id}",
        "TYPE": "BATCH_SUMMARY",
        "batch_id": batch_id,
        "openai_batch_id": f"openai-{batch_id}",
        "status": status,
        "submitted_at": "2026-01-02T12:00:00Z",
        "batch_type": batch_type,
        **more,
    }
    return {name: value for name, value in values.items() if value is not ...}


def put_rows(ledger: Ledger, rows: Iterable[dict[str, Any]]) -> None:
    serialize = TypeSerializer().serialize
    requests = [{"PutRequest": {"Item": {name: serialize(value) for name, value in row.items()}}} for row in rows]
    for start in range(0, len(requests), 25):
        part = cast(Any, requests[start : start + 25])
        answer = ledger.client.batch_write_item(RequestItems={ledger.table: part})
        assert not answer["UnprocessedItems"]


def item(ledger: Ledger, batch_id: str) -> dict[str, Any]:
    found = ledger.client.get_item(
        TableName=ledger.table,
        Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}},
        ConsistentRead=True,
    )["Item"]
    return {name: TypeDeserializer().deserialize(value) for name, value in found.items()}


def new(batch_id: str, **values: Any) -> BatchSummary:
    defaults: dict[str, Any] = {
        "openai_batch_id": f"openai-{batch_id}",
        "batch_type": "LINE_EMBEDDING",
        "status": Status.PENDING,
        "submitted_at": at(0),
    }
    return BatchSummary(batch_id=batch_id, **{**defaults, **values})


def test_texts_of_others_are_written_within_bounds(ledger: Ledger) -> None:
    """Whoever writes them: creating, finishing, counting, setting aside."""
    giant = "x" * 450_000
    ledger.create(new("b0", error=giant))
    writes: list[Callable[[BatchSummary], BatchSummary | None]] = [
        lambda batch: ledger.finish(batch.batch_id, 0, Status.FAILED, {"error": giant}),
        lambda batch: ledger.count_failure(batch, giant),
        lambda batch: ledger.count_failure(batch.model_copy(update={"ingest_attempts": 2}), giant),
        lambda batch: ledger.put_aside(batch.batch_id, 0, giant + "\ud800"),
    ]
    for number, write in enumerate(writes, start=1):
        ledger.create(new(f"b{number}"))
        assert write(ledger.get(f"b{number}")) is not None
    rows = [item(ledger, f"b{number}") for number in range(5)]
    texts = [row[name] for row in rows for name in ("error", "set_aside") if name in row]
    assert len(texts) == 7
    assert all(len(text) <= 1000 and text.endswith("more characters") for text in texts)


def test_a_row_that_dynamodb_does_not_take_is_an_item_error(ledger: Ledger) -> None:
    """More than 400 KB: an error of its own, so that it can count against the batch; its status is as it was.

    DynamoDB changes nothing then; moto, which stands in for it, may apply a part.
    """
    put_rows(ledger, [foreign_row("b1", filler="x" * 404_200)])
    before = item(ledger, "b1")
    with pytest.raises(ItemError, match="b1"):
        ledger.finish("b1", 0, Status.FAILED, {"error": "e" * 1000})
    after = item(ledger, "b1")
    assert {name: after[name] for name in ("status", "GSI1PK")} == {
        name: before[name] for name in ("status", "GSI1PK")
    }


def test_a_row_without_room_is_refused_and_reported(ledger: Ledger) -> None:
    """Another program filled it: nothing can be noted in it, so it is never planned. One with room is."""
    filled: dict[str, Any] = {
        "receipt_refs": [{"image_id": "x" * 1000} for _ in range(395)],
        "n": Decimal(1),
        "b": b"x",
    }
    put_rows(ledger, [foreign_row("full", **filled), foreign_row("roomy", filler="x" * 380_000)])
    put_rows(ledger, [foreign_row("final", status="FAILED", **filled)])
    live = ledger.live(LINES)
    assert [batch.batch_id for batch in live.ready_to_plan] == ["roomy"]
    assert [(row.batch_id, "bytes" in row.reason) for row in live.refused] == [("full", True)]
    assert ledger.get("final").status is Status.FAILED
    long = "x" * 450_000
    assert ledger.count_failure(ledger.get("roomy"), long) is not None
    assert ledger.finish("roomy", 0, Status.FAILED, {"error": long}) is not None


def test_a_created_row_is_the_contracts(ledger: Ledger) -> None:
    """Keys, index keys, type and instants exactly; defaults are absent, precedence is told."""
    ledger.create(new("b1", model="m", request_count=7))
    stored = item(ledger, "b1")
    assert len(stored.pop("write_id")) == 32
    assert stored == {
        "PK": "BATCH#b1",
        "SK": "STATUS",
        "GSI1PK": "STATUS#PENDING",
        "GSI1SK": "BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#b1",
        "TYPE": "BATCH_SUMMARY",
        "batch_id": "b1",
        "openai_batch_id": "openai-b1",
        "status": "PENDING",
        "submitted_at": "2026-01-02T12:00:00Z",
        "precedence_at": "2026-01-02T12:00:00Z",
        "batch_type": "LINE_EMBEDDING",
        "model": "m",
        "request_count": Decimal(7),
    }
    assert ledger.get("b1") == new("b1", model="m", request_count=7)


def test_a_row_is_created_once(ledger: Ledger) -> None:
    """The second creation changes nothing."""
    ledger.create(new("b1", model="first"))
    with pytest.raises(PreconditionError, match="b1"):
        ledger.create(new("b1", model="second"))
    assert ledger.get("b1").model == "first"


def test_every_live_row_is_found(ledger: Ledger) -> None:
    """1,200 rows of over 1 MB in all: every page of the index; each live status, each row once, oldest first."""
    padding = "x" * 1500
    rows = [
        foreign_row(
            f"b{number:04}",
            status=str(LIVE[number % 5]),
            submitted_at=f"2026-01-02T12:{number // 60 % 60:02}:{number % 60:02}Z",
            padding=padding,
        )
        for number in range(1200)
    ]
    put_rows(ledger, [*rows, *(foreign_row(f"w{n}", batch_type="WORD_EMBEDDING") for n in range(3))])
    found = ledger.live(LINES)
    assert [batch.batch_id for batch in found.ready_to_plan] == [f"b{number:04}" for number in range(1200)]
    assert (found.set_aside, found.refused) == ((), ())
    assert len(list(ledger.by_status(Status.PENDING))) == 243
    assert len(list(ledger.by_status(Status.PENDING, "LINE_EMBEDDING"))) == 240
    assert [batch.batch_id for batch in ledger.live(WORDS).ready_to_plan] == ["w0", "w1", "w2"]
    several = ledger.get_many(f"b{number:04}" for number in range(250))
    assert sorted(several) == [f"b{number:04}" for number in range(250)]


def test_more_than_a_page_of_one_status_is_found(ledger: Ledger) -> None:
    """One status alone over the 1 MB of a page of its own query."""
    put_rows(ledger, (foreign_row(f"b{number}", padding="x" * 200_000) for number in range(12)))
    assert len(ledger.live(LINES).ready_to_plan) == 12


def test_final_rows_are_not_live(ledger: Ledger) -> None:
    """None of the four final statuses is listed for polling."""
    put_rows(ledger, [foreign_row(f"b-{status}", str(status)) for status in Status])
    assert {batch.status for batch in ledger.live(LINES).ready_to_plan} == set(LIVE)


def test_live_rows_are_oldest_first_by_instant(ledger: Ledger) -> None:
    """Instants are compared, not text: an offset is no other day."""
    put_rows(
        ledger,
        [
            foreign_row("second", submitted_at="2026-01-02T12:00:00Z"),
            foreign_row("third", submitted_at="2026-01-02T11:30:00-01:00"),
            foreign_row("first", submitted_at="2026-01-02T13:30:00+02:00"),
        ],
    )
    assert [batch.batch_id for batch in ledger.live(LINES).ready_to_plan] == ["first", "second", "third"]


def test_a_row_set_aside_is_live_and_not_planned(ledger: Ledger) -> None:
    """It is shown apart until it is reset."""
    put_rows(ledger, [foreign_row("b1", set_aside="three failures"), foreign_row("b2")])
    live = ledger.live(LINES)
    assert [batch.batch_id for batch in live.ready_to_plan] == ["b2"]
    assert [batch.batch_id for batch in live.set_aside] == ["b1"]


def test_a_malformed_row_is_refused_and_stops_nothing(ledger: Ledger) -> None:
    """Each with its reason; the good ones are planned; the bad ones stay exactly as they are."""
    bad = {
        "no-time": foreign_row("no-time", submitted_at=...),
        "naive": foreign_row("naive", submitted_at="2026-01-02T12:00:00"),
        "disagrees": foreign_row("disagrees", status="PENDING", GSI1PK="STATUS#IN_PROGRESS"),
        "20260102T120000Z-0123abcd": foreign_row("20260102T120000Z-0123abcd"),
        "a#b": foreign_row("a#b"),
        "other-type": foreign_row("other-type", TYPE="OTHER"),
    }
    put_rows(ledger, [*bad.values(), foreign_row("good")])
    live = ledger.live(LINES)
    assert [batch.batch_id for batch in live.ready_to_plan] == ["good"]
    reasons = {refused.batch_id: refused.reason for refused in live.refused}
    assert reasons.keys() == bad.keys()
    assert "submitted_at" in reasons["naive"]
    assert "disagree" in reasons["disagrees"]
    assert "execution id" in reasons["20260102T120000Z-0123abcd"]
    assert {name: item(ledger, name) for name in bad} == bad
    assert any(isinstance(row, Refused) for row in ledger.by_status(Status.PENDING))


def test_a_row_of_another_type_is_never_planned(ledger: Ledger) -> None:
    """A row of words that stands in the index among lines would be merged into the wrong database."""
    wrong = foreign_row("words", batch_type="WORD_EMBEDDING", GSI1SK="BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#words")
    put_rows(ledger, [wrong, foreign_row("good")])
    live = ledger.live(LINES)
    assert [batch.batch_id for batch in live.ready_to_plan] == ["good"]
    assert [refused.batch_id for refused in live.refused] == ["words"]


class LaggingClient:
    """DynamoDB whose index still shows a row as it was a moment ago."""

    def __init__(self, ledger: Ledger, stale: dict[str, Any]) -> None:
        self._client = ledger.client
        self._stale = {name: TypeSerializer().serialize(value) for name, value in stale.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_paginator(self, name: str) -> Any:
        return self

    def paginate(self, **query: Any) -> list[Any]:
        wanted = query["ExpressionAttributeValues"][":status"]["S"]
        return [{"Items": [self._stale] if self._stale["GSI1PK"]["S"] == wanted else []}]


def test_live_rows_are_read_again_consistently(ledger: Ledger) -> None:
    """An index lags: a batch that it still shows as live but is final by now is not planned again."""
    put_rows(ledger, [foreign_row("b1", "COMPLETED")])
    lagging = Ledger(ledger.table, cast(Any, LaggingClient(ledger, foreign_row("b1", "PENDING"))))
    assert lagging.live(LINES).ready_to_plan == ()
    put_rows(ledger, [foreign_row("b1", "FINALIZING", generation=3)])
    [batch] = lagging.live(LINES).ready_to_plan
    assert (batch.status, batch.generation) == (Status.FINALIZING, 3)


class ConsistencyClient:
    """DynamoDB that tells how it was read: a local one is always consistent, the real one is not."""

    def __init__(self, ledger: Ledger) -> None:
        self._client = ledger.client
        self.consistent: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_get_item(self, **request: Any) -> Any:
        self.consistent += [table.get("ConsistentRead", False) for table in request["RequestItems"].values()]
        return self._client.batch_get_item(**request)


def test_every_row_is_asked_for_consistently(ledger: Ledger) -> None:
    """Live rows, several rows, one row."""
    put_rows(ledger, [foreign_row("b1")])
    client = ConsistencyClient(ledger)
    watched = Ledger(ledger.table, cast(Any, client))
    watched.live(LINES)
    watched.get_many(["b1"])
    watched.get("b1")
    assert client.consistent == [True, True, True]


def test_a_row_that_moves_between_pages_is_listed_once(ledger: Ledger) -> None:
    """The index shows it under two statuses: one batch."""
    put_rows(ledger, [foreign_row("b1", "IN_PROGRESS")])

    class Twice(LaggingClient):
        def paginate(self, **query: Any) -> list[Any]:
            return [{"Items": [self._stale]}]

    twice = Ledger(ledger.table, cast(Any, Twice(ledger, foreign_row("b1"))))
    assert [batch.batch_id for batch in twice.live(LINES).ready_to_plan] == ["b1"]


def test_get_tells_missing_from_refused(ledger: Ledger) -> None:
    """Missing, refused, or the row."""
    put_rows(ledger, [foreign_row("bad", submitted_at=...), foreign_row("good")])
    assert ledger.get("good").batch_id == "good"
    with pytest.raises(NotFoundError, match="'missing'"):
        ledger.get("missing")
    with pytest.raises(InputError, match="submitted_at is missing"):
        ledger.get("bad")
    assert ledger.get_many(["good", "bad", "missing", "good"]).keys() == {"good"}
    assert ledger.get_many([]) == {}


def test_a_missing_table_is_told(ledger: Ledger) -> None:
    """Not as a missing row."""
    with pytest.raises(ServiceError) as raised:
        Ledger("no-such-table", ledger.client).live(LINES)
    assert "no-such-table" in str(raised.value)


Write = Callable[[Ledger, BatchSummary], BatchSummary | None]

WRITES: dict[str, tuple[Write, str]] = {
    "finish": (lambda ledger, row: ledger.finish(row.batch_id, row.generation, Status.COMPLETED, {}), "COMPLETED"),
    "observe": (lambda ledger, row: ledger.observe(row.batch_id, row.generation, Status.CANCELING), "CANCELING"),
    "count_failure": (lambda ledger, row: ledger.count_failure(row, "why"), "IN_PROGRESS"),
    "put_aside": (lambda ledger, row: ledger.put_aside(row.batch_id, row.generation, "why"), "IN_PROGRESS"),
    "reset": (lambda ledger, row: ledger.reset(row, Status.FAILED), "FAILED"),
}


@pytest.mark.parametrize("write", WRITES)
def test_status_and_index_key_go_together_and_the_rest_stays(ledger: Ledger, write: str) -> None:
    """After any write both agree, the index finds the row there and only there, foreign attributes stand."""
    put_rows(ledger, [foreign_row("b1", "IN_PROGRESS", **FOREIGN)])
    act, status = WRITES[write]
    changed = act(ledger, ledger.get("b1"))
    assert changed is not None
    assert changed == ledger.get("b1")
    stored = item(ledger, "b1")
    assert (stored["status"], stored["GSI1PK"]) == (status, f"STATUS#{status}")
    assert {name: stored[name] for name in FOREIGN} == FOREIGN
    untouched = ("PK", "SK", "GSI1SK", "TYPE", "batch_id", "openai_batch_id", "submitted_at", "batch_type")
    assert {name: stored[name] for name in untouched} == {name: foreign_row("b1")[name] for name in untouched}
    there = [str(one) for one in Status if any(True for _ in ledger.by_status(one))]
    assert there == [status]


@pytest.mark.parametrize("write", [name for name in WRITES if name != "reset"])
@pytest.mark.parametrize(
    "state",
    [{"status": "COMPLETED"}, {"status": "CANCELLED"}, {"generation": 2}, {"generation": 0}],
    ids=["completed", "cancelled", "newer", "older"],
)
def test_a_write_for_another_state_changes_nothing(ledger: Ledger, write: str, state: dict[str, Any]) -> None:
    """Final by now, or of another generation: None, and not one attribute changes."""
    put_rows(ledger, [foreign_row("b1", **{"generation": 1, **state})])
    before = item(ledger, "b1")
    act, _ = WRITES[write]
    assert act(ledger, new("b1", generation=1)) is None
    assert item(ledger, "b1") == before


@pytest.mark.parametrize("write", [name for name in WRITES if name != "reset"])
def test_a_write_to_a_missing_row_makes_none(ledger: Ledger, write: str) -> None:
    """No phantom rows."""
    act, _ = WRITES[write]
    assert act(ledger, new("b1")) is None
    assert ledger.get_many(["b1"]) == {}


@pytest.mark.parametrize("write", [name for name in WRITES if name != "reset"])
@pytest.mark.parametrize("stored", [{}, {"generation": 0}], ids=["absent", "zero"])
def test_an_absent_generation_is_zero(ledger: Ledger, write: str, stored: dict[str, Any]) -> None:
    """A row of another program has none; a write for generation 0 fits it, one for 1 does not."""
    put_rows(ledger, [foreign_row("b1", **stored)])
    act, _ = WRITES[write]
    assert act(ledger, new("b1", generation=1)) is None
    assert act(ledger, new("b1")) is not None


def test_finish_writes_its_values_and_the_instant(ledger: Ledger) -> None:
    """Counts as numbers, `completed_at` as an instant."""
    ledger.create(new("b1"))
    before = datetime.now(UTC)
    row = ledger.finish("b1", 0, Status.EXPIRED, {"embedded_count": 3, "failed_count": 0, "execution_id": "e"})
    assert row is not None
    assert (row.status, row.embedded_count, row.failed_count, row.execution_id) == (Status.EXPIRED, 3, 0, "e")
    assert before <= parse_instant(row.completed_at or "") <= datetime.now(UTC)
    assert item(ledger, "b1")["embedded_count"] == Decimal(3)


def test_of_many_finishes_exactly_one_wins(ledger: Ledger) -> None:
    """Sixteen at once, four statuses: one row, its status that of the winner."""
    ledger.create(new("b1"))
    finals = [status for status in Status if not status.live] * 4

    def finish(number: int) -> BatchSummary | None:
        return ledger.finish("b1", 0, finals[number], {"embedded_count": number})

    with ThreadPoolExecutor(16) as pool:
        rows = [row for row in pool.map(finish, range(16)) if row is not None]
    assert len(rows) == 1
    assert ledger.get("b1") == rows[0]
    assert rows[0].status is finals[rows[0].embedded_count or 0]


def test_of_many_reopenings_exactly_one_wins(ledger: Ledger) -> None:
    """The generation grows by one, not by sixteen."""
    put_rows(ledger, [foreign_row("b1", "COMPLETED", generation=4)])
    row = ledger.get("b1")

    def reopen(number: int) -> bool:
        try:
            ledger.reopen(row)
        except PreconditionError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(reopen, range(16))) == 1
    assert ledger.get("b1").generation == 5


def test_the_third_failure_sets_the_batch_aside(ledger: Ledger) -> None:
    """Twice it stays planned; the third time it is set aside with the last reason."""
    ledger.create(new("b1"))
    for count in (1, 2):
        row = ledger.count_failure(ledger.get("b1"), f"failure {count}")
        assert row is not None
        assert (row.ingest_attempts, row.error, row.set_aside) == (count, f"failure {count}", None)
    row = ledger.count_failure(ledger.get("b1"), "failure 3")
    assert row is not None
    assert row.ingest_attempts == 3
    assert "failure 3" in (row.set_aside or "")
    assert row.status is Status.PENDING


def test_a_reset_lets_a_batch_set_aside_be_planned_again(ledger: Ledger) -> None:
    """The failures are forgotten; live to live is no new generation."""
    put_rows(ledger, [foreign_row("b1", "IN_PROGRESS", set_aside="x", ingest_attempts=3, error="e", **FOREIGN)])
    row = ledger.reset(ledger.get("b1"), Status.PENDING)
    assert (row.status, row.set_aside, row.ingest_attempts, row.error) == (Status.PENDING, None, 0, None)
    assert row.generation == 0
    stored = item(ledger, "b1")
    assert not stored.keys() & {"set_aside", "ingest_attempts", "error"}
    assert {name: stored[name] for name in FOREIGN} == FOREIGN
    assert [batch.batch_id for batch in ledger.live(LINES).ready_to_plan] == ["b1"]


@pytest.mark.parametrize(
    ("was", "becomes", "generation"),
    [
        ("COMPLETED", Status.PENDING, 1),
        ("FAILED", Status.IN_PROGRESS, 1),
        ("PENDING", Status.IN_PROGRESS, 0),
        ("PENDING", Status.FAILED, 0),
        ("COMPLETED", Status.FAILED, 0),
    ],
)
def test_final_to_live_is_a_new_generation(ledger: Ledger, was: str, becomes: Status, generation: int) -> None:
    """Only that: what was polled for the earlier generation cannot mark the reopened batch."""
    put_rows(ledger, [foreign_row("b1", was)])
    row = ledger.reset(ledger.get("b1"), becomes)
    assert (row.status, row.generation) == (becomes, generation)
    assert (row.completed_at is not None) is (not becomes.live)


@pytest.mark.parametrize("change", [{"status": "FAILED"}, {"generation": 1}])
def test_a_reset_of_what_changed_meanwhile_is_refused(ledger: Ledger, change: dict[str, Any]) -> None:
    """Nobody's change is overwritten unseen."""
    put_rows(ledger, [foreign_row("b1", "COMPLETED")])
    seen = ledger.get("b1")
    put_rows(ledger, [foreign_row("b1", **{"status": "COMPLETED", **change})])
    before = item(ledger, "b1")
    with pytest.raises(PreconditionError, match="b1"):
        ledger.reset(seen, Status.PENDING)
    with pytest.raises(PreconditionError):
        ledger.reopen(seen)
    assert item(ledger, "b1") == before


class UnprocessedClient:
    """DynamoDB that leaves keys of a BatchGetItem unread now and then."""

    def __init__(self, ledger: Ledger) -> None:
        self._client = ledger.client
        self.calls = 0

    def batch_get_item(self, **request: Any) -> Any:
        self.calls += 1
        [(table, wanted)] = request["RequestItems"].items()
        first, rest = wanted["Keys"][:7], wanted["Keys"][7:]
        items: Any = {table: {**wanted, "Keys": first}}
        answer: Any = self._client.batch_get_item(RequestItems=items)
        return {**answer, "UnprocessedKeys": {table: {"Keys": rest}} if rest else {}}


def test_unprocessed_keys_are_asked_for_again(ledger: Ledger) -> None:
    """A throttled BatchGetItem answers in part: no row gets lost."""
    put_rows(ledger, [foreign_row(f"b{number}") for number in range(30)])
    client = UnprocessedClient(ledger)
    found = Ledger(ledger.table, cast(Any, client)).get_many(f"b{number}" for number in range(30))
    assert len(found) == 30
    assert client.calls == 5


LEGACY: dict[str, Any] = {"result_file_id": "N/A", "receipt_refs": [{"image_id": "i", "receipt_id": Decimal(1)}]}
"""What the replaced system keeps in its rows."""


def without_batch_id(row: dict[str, Any]) -> dict[str, Any]:
    """As the replaced system writes it."""
    return {name: value for name, value in row.items() if name != "batch_id"}


def every_write(ledger: Ledger, batch_id: str) -> None:
    """Whatever the ledger writes into a row, one after the other."""
    ledger.note_missing(ledger.get(batch_id), "not there")
    ledger.note_shown(ledger.get(batch_id), "Paused")
    ledger.note_shown(ledger.get(batch_id))
    ledger.observe(batch_id, 0, Status.IN_PROGRESS)
    ledger.count_failure(ledger.get(batch_id), "no")
    ledger.forget_failures(batch_id, 0)
    ledger.put_aside(batch_id, 0, "because")
    ledger.note_result_file(batch_id, "file")
    ledger.finish(batch_id, 0, Status.COMPLETED, {"embedded_count": 1})
    ledger.acknowledge(ledger.get(batch_id), "a test")
    ledger.note_resubmission(ledger.get(batch_id), "child")
    ledger.reopen(ledger.get(batch_id))


@pytest.mark.parametrize(("child", "kept"), [("child", False), (None, True)])
def test_a_resubmission_ends_an_acknowledgement(ledger: Ledger, child: str | None, kept: bool) -> None:
    """Unless there was nothing to submit again."""
    ledger.create(new("b1"))
    ledger.finish("b1", 0, Status.EXPIRED, {"unfinished_count": 1})
    ledger.note_resubmission(ledger.acknowledge(ledger.get("b1"), "a test"), child)
    assert [name in item(ledger, "b1") for name in ("acknowledged", "acknowledged_at")] == [kept, kept]


def test_a_row_without_a_batch_id_survives_every_write(ledger: Ledger) -> None:
    """The replaced system's: read by its key, listed, changed; what its reader needs is as it was."""
    put_rows(ledger, [without_batch_id(foreign_row("b1", **LEGACY))])
    assert [batch.batch_id for batch in ledger.live(LINES).ready_to_plan] == ["b1"]
    every_write(ledger, "b1")
    written = item(ledger, "b1")
    assert {name: written[name] for name in LEGACY} == LEGACY
    assert (written["status"], written["generation"], "batch_id" in written) == ("PENDING", 1, False)
    assert not {"missing_since", "openai_status", "error"} & written.keys()


def test_new_rows_carry_what_the_replaced_systems_reader_needs(ledger: Ledger) -> None:
    """Only if that is set; OpenAI's output file is noted once, and only in rows that we made."""
    ledger.create(new("plain"))
    legacy = Ledger(ledger.table, ledger.client, legacy_rows=True)
    legacy.create(new("ours"))
    legacy.note_result_file("ours", "file-1")
    legacy.note_result_file("ours", "file-2")
    legacy.note_result_file("plain", "file-1")
    assert not LEGACY.keys() & item(ledger, "plain").keys()
    assert (item(ledger, "ours")["result_file_id"], item(ledger, "ours")["receipt_refs"]) == ("file-1", [])


def test_missing_since_is_the_first_look_that_missed_it(ledger: Ledger) -> None:
    """A later look leaves the instant; one that finds it takes it and the reason away; a final row has none."""
    ledger.create(new("b1"))
    first = ledger.note_missing(ledger.get("b1"), "not there")
    assert first is not None
    assert item(ledger, "b1")["missing_since"].endswith("Z")
    later = ledger.note_missing(ledger.get("b1"), "its output is not there")
    assert later is not None
    assert (later.missing_since, later.error) == (first.missing_since, "its output is not there")
    shown = ledger.note_shown(later)
    assert shown is not None
    assert (shown.missing_since, shown.error) == (None, None)
    ledger.note_missing(shown, "gone")
    ended = ledger.finish("b1", 0, Status.FAILED, {"error": "gone"})
    assert ended is not None
    assert (ended.missing_since, ended.error) == (None, "gone")
    assert ledger.note_missing(ended, "gone") is None


def test_the_ids_of_the_whole_table(ledger: Ledger) -> None:
    """Live or final, of every database, also of rows that are refused."""
    rows = [
        foreign_row("live"),
        without_batch_id(foreign_row("final", "COMPLETED")),
        foreign_row("words", "EXPIRED", "WORD_EMBEDDING"),
        foreign_row("refused", submitted_at="yesterday"),
    ]
    put_rows(ledger, rows)
    wanted = {(name, f"openai-{name}") for name in ("live", "final", "words", "refused")}
    assert set(ledger.openai_ids()) == wanted
