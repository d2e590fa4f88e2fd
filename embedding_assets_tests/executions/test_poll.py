"""Polling an execution: one result a batch, no batch takes the others down, rows keep in step."""

from __future__ import annotations

import errno
import ssl
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from embedding_assets.bucket.keys import batch_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError, ServiceError
from embedding_assets.executions.plan import ExecutionManifest, PlannedBatch
from embedding_assets.executions.poll import ExecutionPoller
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets_tests.answers import failed_line, input_lines, output_line, unfinished_line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import DIMENSIONS, at, records, vector
from embedding_assets_tests.executions.conftest import Workbench, execution


def manifest(*batch_ids: str) -> ExecutionManifest:
    return ExecutionManifest(
        execution_id=execution(1),
        database="lines",
        created_at="2026-01-02T12:00:00Z",
        total_batches=len(batch_ids),
        batches=tuple(
            PlannedBatch(index=index, batch_id=batch_id, openai_batch_id=f"openai-{batch_id}")
            for index, batch_id in enumerate(batch_ids)
        ),
    )


@pytest.fixture
def execution_poller(bench: Workbench, poller: Poller) -> ExecutionPoller:
    return ExecutionPoller(bench.store, bench.ledger, poller, LINES, concurrency=8)


def poll(execution_poller: ExecutionPoller, *batch_ids: str) -> tuple[list[PollResult], list[str]]:
    """The results, and the batches in the order in which they were told."""
    told: list[str] = []

    def on_batch(row: BatchSummary, result: PollResult) -> None:
        assert row.batch_id == result.batch_id
        told.append(row.batch_id)

    return execution_poller.poll(manifest(*batch_ids), on_batch), told


def planted(server: OpenAIServer, batch_id: str, good: int, dimensions: int = DIMENSIONS, **planted: Any) -> None:
    names = [f"{batch_id}-{number}" for number in range(good)]
    lines = [output_line(name, vector(number, dimensions)) for number, name in enumerate(names)]
    given = {"input": input_lines(names), "output": "".join(lines), **planted}
    server.plant(f"openai-{batch_id}", **given)


def test_every_batch_has_one_result_in_order(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Completed, partial, waiting, failed, unknown, without a row: six results for six batches; rows settled."""
    planted(openai_server, "done", 3)
    planted(openai_server, "part", 2, status="expired", errors=unfinished_line("part-9"))
    openai_server.plant("openai-runs", status="in_progress", input=input_lines(["x"]))
    openai_server.plant("openai-bad", input=input_lines(["a", "b"]), errors=failed_line("a") + failed_line("b"))
    names = ["runs", "done", "gone", "bad", "part", "rowless"]
    for name in names[:-1]:
        bench.row(name)
    results, told = poll(execution_poller, *names)
    assert [result.batch_id for result in results] == names
    assert sorted(told) == sorted(names[:-1])
    assert [(result.action, result.embedding_count) for result in results] == [
        ("wait", 0),
        ("process_results", 3),
        ("handle_failure", 0),
        ("handle_failure", 0),
        ("process_partial", 2),
        ("error", 0),
    ]
    assert "row" in (results[-1].message or "")
    rows = bench.ledger.get_many(names)
    assert {name: str(row.status) for name, row in rows.items()} == {
        "runs": "IN_PROGRESS",
        "done": "PENDING",
        "gone": "FAILED",
        "bad": "FAILED",
        "part": "PENDING",
    }
    bad = rows["bad"]
    assert (bad.embedded_count, bad.failed_count, bad.unfinished_count, bad.request_count) == (0, 2, 0, 2)
    assert "server_error" in (bad.error or "")
    assert bad.completed_at is not None
    assert "does not know" in (rows["gone"].error or "")
    assert bad.snapshot_version is None


@pytest.mark.parametrize(
    ("remote", "local"),
    [
        ("validating", Status.VALIDATING),
        ("in_progress", Status.IN_PROGRESS),
        ("finalizing", Status.FINALIZING),
        ("cancelling", Status.CANCELING),
    ],
)
def test_the_live_status_that_openai_tells_is_noted(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer, remote: str, local: Status
) -> None:
    """`cancelling` is `CANCELING` here; status and index key go together, so it is still listed."""
    openai_server.plant("openai-b", status=remote, input=input_lines(["x"]))
    bench.row("b")
    [result], _ = poll(execution_poller, "b")
    assert (result.action, result.batch_status) == ("wait", remote)
    assert bench.ledger.get("b").status is local
    assert bench.attributes("b")["GSI1PK"] == f"STATUS#{local}"
    assert [batch.batch_id for batch in bench.ledger.live(LINES).ready_to_plan] == ["b"]


@pytest.mark.parametrize(
    ("remote", "local"),
    [("failed", "FAILED"), ("expired", "EXPIRED"), ("cancelled", "CANCELLED"), ("completed", "FAILED")],
)
def test_a_batch_without_an_embedding_ends_at_once(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer, remote: str, local: str
) -> None:
    """It is in no version, so nothing will mark it later: it ends with its reason and its counts now."""
    openai_server.plant("openai-b", status=remote, input=input_lines(["x", "y"]))
    bench.row("b")
    [result], _ = poll(execution_poller, "b")
    assert result.action == "handle_failure"
    row = bench.ledger.get("b")
    assert (str(row.status), row.embedded_count, row.failed_count, row.unfinished_count) == (local, 0, 0, 2)
    assert row.error
    assert bench.ledger.live(LINES).ready_to_plan == ()


def test_a_broken_batch_takes_nobody_down(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Nobody knows what its answers belong to: an error, one failure counted, the others polled."""
    planted(openai_server, "good", 2)
    planted(openai_server, "broken", 2, fields={"input_file_id": None})
    for name in ("good", "broken"):
        bench.row(name)
    results, _ = poll(execution_poller, "broken", "good")
    assert [result.action for result in results] == ["error", "process_results"]
    assert "records/broken.jsonl" in (results[0].message or "")
    row = bench.ledger.get("broken")
    assert (row.status, row.ingest_attempts, row.set_aside) == (Status.PENDING, 1, None)
    assert bench.ledger.get("good").ingest_attempts == 0


@pytest.mark.parametrize(
    "fault",
    [{"status": 429, "retry_after": 0.01}, {"status": 500}, {"status": 503}, {"reset": True}],
    ids=["429", "500", "503", "reset"],
)
@pytest.mark.parametrize("route", ["GET /v1/batches/{id}", "GET /v1/files/{id}/content"])
def test_what_may_pass_counts_against_no_batch(
    bench: Workbench,
    execution_poller: ExecutionPoller,
    openai_server: OpenAIServer,
    route: str,
    fault: dict[str, Any],
) -> None:
    """However often: the row is as it was, its result is a passing error with its message, the others go on."""
    planted(openai_server, "b", 1)
    planted(openai_server, "good", 1)
    bench.row("b")
    bench.row("good")
    before = bench.attributes("b")
    struck = "openai-b" if "batches" in route else file_of(openai_server, "b")
    openai_server.fault(route, times=None, contains=struck, **fault)
    for _ in range(4):
        results, told = poll(execution_poller, "b", "good")
        assert [(result.action, result.passing) for result in results] == [
            ("error", True),
            ("process_results", False),
        ]
        assert results[0].message
        assert sorted(told) == ["b", "good"]
        assert bench.attributes("b") == before
    assert [batch.batch_id for batch in bench.ledger.live(LINES).ready_to_plan] == ["b", "good"]


def file_of(server: OpenAIServer, batch_id: str) -> str:
    """The id of a planted batch's output file."""
    return str(server.control.get(f"/v1/batches/openai-{batch_id}").json()["output_file_id"])


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), TimeoutError("late"), ssl.SSLError("cut")])
def test_a_network_error_that_nobody_translated_counts_against_no_batch(
    bench: Workbench, openai: OpenAIBatches, openai_server: OpenAIServer, error: OSError
) -> None:
    """Whatever a library lets through, the network is no batch's fault."""
    openai_server.plant("openai-good", status="in_progress", input=input_lines(["a"]))
    for name in ("failing", "good"):
        bench.row(name)
    failing = FailingPoller(bench.store, openai, LINES, "arrow")
    failing.error, failing.others = error, threading.Barrier(2)
    results, _ = poll(ExecutionPoller(bench.store, bench.ledger, failing, LINES, 2), "failing", "good")
    assert [(result.action, result.passing) for result in results] == [("error", True), ("wait", False)]
    assert type(error).__name__ in (results[0].message or "")
    assert bench.ledger.get("failing").ingest_attempts == 0


def too_full(ledger: Ledger, batch_id: str, *attributes: str) -> Ledger:
    """A ledger over the same table, in which another program fills the row before each write of an attribute."""
    real = ledger.client

    class Filling:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def update_item(self, **call: Any) -> Any:
            written = call["ExpressionAttributeNames"].values()
            if batch_id in call["Key"]["PK"]["S"] and set(attributes) & set(written):
                call["ExpressionAttributeValues"][":full"] = {"S": "x" * 420_000}
                call["UpdateExpression"] = call["UpdateExpression"].replace("SET ", "SET filler = :full, ")
            return real.update_item(**call)

    return Ledger(ledger.table, cast(Any, Filling()))


@pytest.mark.parametrize("nothing_fits", [False, True])
def test_a_row_that_dynamodb_does_not_take_counts_against_its_batch(
    bench: Workbench,
    execution_poller: ExecutionPoller,
    poller: Poller,
    openai_server: OpenAIServer,
    nothing_fits: bool,
) -> None:
    """The final status does not fit: an error of this batch, counted in its row if that fits; the others go on."""
    planted(openai_server, "good", 2)
    openai_server.plant("openai-full", status="failed", input=input_lines(["x"]))
    for name in ("good", "full"):
        bench.row(name)
    ledger = too_full(bench.ledger, "full", *(("status",) if nothing_fits else ("unfinished_count",)))
    poller_of_full = ExecutionPoller(bench.store, ledger, poller, LINES, concurrency=8)
    results, _ = poll(poller_of_full, "full", "good")
    assert [result.action for result in results] == ["error", "process_results"]
    assert "size" in (results[0].message or "").lower()
    row = bench.ledger.get("full")
    assert (row.status, row.ingest_attempts) == (Status.PENDING, 0 if nothing_fits else 1)
    assert row.error == (None if nothing_fits else results[0].message)


def test_a_giant_text_is_bounded_in_the_row(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """450 KB of message, then 8,000 errors of lines: FAILED with a bounded reason, and what was left out."""
    giant = [{"code": "c", "message": "m" * 450_000}]
    many = [{"code": "invalid_json_line", "message": "not JSON", "line": n} for n in range(1, 8001)]
    for name, problems in {"giant": giant, "many": many}.items():
        openai_server.plant(f"openai-{name}", status="failed", input=input_lines(["x"]), batch_errors=problems)
        bench.row(name)
    results, _ = poll(execution_poller, "giant", "many")
    for result in results:
        row = bench.ledger.get(result.batch_id)
        assert (row.status, row.error) == (Status.FAILED, result.message)
        assert len(row.error or "") <= 1000
    assert (results[0].message or "").endswith("more characters")
    assert results[1].message == "invalid_json_line: not JSON (line 1); … and 7,999 more"


def test_the_third_failure_sets_the_batch_aside(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """What a batch itself is to blame for is tried again in later executions, and not for ever."""
    bench.row("b")
    openai_server.fault("*", times=None, status=400)
    for count in (1, 2, 3):
        [result], _ = poll(execution_poller, "b")
        assert result.action == "error"
        row = bench.ledger.get("b")
        assert row.ingest_attempts == count
        assert (row.set_aside is not None) is (count == 3)
    live = bench.ledger.live(LINES)
    assert live.ready_to_plan == ()
    assert [batch.batch_id for batch in live.set_aside] == ["b"]


class StrangePoller(Poller):
    """Raises for one batch what nobody thought of."""

    def poll(self, batch: BatchSummary, *rest: Any) -> PollResult:
        if batch.batch_id == "strange":
            raise KeyError("nobody\nthought of it")
        return super().poll(batch, *rest)


def test_a_strange_error_counts_against_its_batch(
    bench: Workbench, openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """Whatever is raised, it is the batch's own error, in one line, and takes nobody down."""
    planted(openai_server, "good", 1)
    for name in ("good", "strange"):
        bench.row(name)
    strange = StrangePoller(bench.store, openai, LINES, "arrow")
    results, _ = poll(ExecutionPoller(bench.store, bench.ledger, strange, LINES, 2), "strange", "good")
    assert [result.action for result in results] == ["error", "process_results"]
    assert "KeyError" in (results[0].message or "")
    assert len((results[0].message or "").splitlines()) == 1
    assert bench.ledger.get("strange").ingest_attempts == 1


def test_what_does_not_fit_is_set_aside(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Of another length than the published version's: no delta goes on, the reason stands in the row."""
    bench.merge([bench.batch("first", records("a", 2))], 7)
    planted(openai_server, "fits", 2)
    planted(openai_server, "long", 2, dimensions=16)
    for name in ("fits", "long"):
        bench.row(name, at(1))
    results, _ = poll(execution_poller, "fits", "long")
    assert [(result.action, result.has_delta) for result in results] == [
        ("process_results", True),
        ("error", False),
    ]
    row = bench.ledger.get("long")
    assert "16 dimensions" in (row.set_aside or "")
    assert row.status is Status.PENDING
    assert bench.ledger.get("fits").set_aside is None


def test_what_no_batch_is_to_blame_for_ends_the_execution(
    bench: Workbench, openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """A missing bucket: no failure is counted against any batch."""
    planted(openai_server, "b", 1)
    bench.row("b")
    elsewhere = Store("no-such-bucket", bench.store._client, bench.store._single_try)
    broken = ExecutionPoller(elsewhere, bench.ledger, Poller(elsewhere, openai, LINES, "arrow"), LINES, 2)
    with pytest.raises(ServiceError):
        broken.poll(manifest("b"), lambda row, result: None)
    assert bench.ledger.get("b").ingest_attempts == 0


def test_a_refused_key_ends_the_execution(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Nor is the account's key any batch's fault."""
    bench.row("b")
    openai_server.fault("*", times=None, status=401)
    with pytest.raises(ServiceError, match="key"):
        poll(execution_poller, "b")
    assert bench.ledger.get("b").ingest_attempts == 0


def test_a_good_poll_forgets_the_failures_before_it(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Failed twice, then polled well: should its execution fail, it begins at none again, without an error."""
    planted(openai_server, "b", 1)
    bench.row("b")
    for _ in range(2):
        assert bench.ledger.count_failure(bench.ledger.get("b"), "cannot be reached") is not None
    [result], _ = poll(execution_poller, "b")
    assert result.has_delta
    row = bench.ledger.get("b")
    assert (row.ingest_attempts, row.error, row.status) == (0, None, Status.PENDING)


def test_one_that_is_set_aside_is_told_again_as_it_is_then(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """What lies in the bucket and what Dagster is told last say that it is set aside."""
    bench.merge([bench.batch("first", records("a", 2))], 7)
    planted(openai_server, "long", 2, dimensions=16)
    bench.row("long", at(1))
    told: list[tuple[bool, str]] = []
    execution_poller.poll(
        manifest("long"), lambda row, result: told.append((row.set_aside is not None, result.action))
    )
    assert told == [(False, "process_results"), (True, "error")]
    stored = BatchSummary.model_validate_json(bench.store.get(batch_key("long")))
    assert "16 dimensions" in (stored.set_aside or "")


class FailingPoller(Poller):
    """Raises its error for one batch, after the others came through."""

    error: BaseException
    others: threading.Barrier

    def poll(self, batch: BatchSummary, *rest: Any) -> PollResult:
        if batch.batch_id != "failing":
            result = super().poll(batch, *rest)
            self.others.wait(30)
            return result
        self.others.wait(30)
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
def test_what_this_machine_is_out_of_is_no_batchs_fault(
    bench: Workbench, openai: OpenAIBatches, openai_server: OpenAIServer, error: BaseException
) -> None:
    """It ends the execution with a line that says so; who came through beside it is told, and nobody is blamed."""
    openai_server.plant("openai-bad", input=input_lines(["a"]), errors=failed_line("a"))
    for name in ("failing", "bad"):
        bench.row(name)
    failing = FailingPoller(bench.store, openai, LINES, "arrow")
    failing.error, failing.others = error, threading.Barrier(2)
    told: list[str] = []
    with pytest.raises(ServiceError, match="this machine"):
        ExecutionPoller(bench.store, bench.ledger, failing, LINES, 2).poll(
            manifest("failing", "bad"), lambda row, result: told.append(row.batch_id)
        )
    assert told == ["bad"]
    assert bench.ledger.get("bad").status is Status.FAILED
    assert bench.ledger.get("failing").ingest_attempts == 0


def test_a_batch_ends_only_after_that_was_reported(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """While it is reported, the table has the live row and the bucket the row as it will be."""
    openai_server.plant("openai-bad", input=input_lines(["a"]), errors=failed_line("a"))
    bench.row("bad")
    told: list[BatchSummary] = []
    seen: list[Status] = []

    def report() -> None:
        seen.append(bench.ledger.get("bad").status)

    execution_poller.poll(manifest("bad"), lambda row, result: told.append(row), report=report)
    assert seen == [Status.PENDING]
    assert [row.status for row in told] == [Status.FAILED]
    kept = BatchSummary.model_validate_json(bench.store.get(batch_key("bad")))
    assert told == [kept] == [bench.ledger.get("bad")]


def test_a_batch_whose_end_could_not_be_reported_is_polled_again(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """A final row that nobody was told of would never be reported: so it stays live."""
    openai_server.plant("openai-bad", input=input_lines(["a"]), errors=failed_line("a"))
    bench.row("bad")

    def refuse() -> None:
        raise OSError("the event log is full")

    with pytest.raises(OSError, match="event log"):
        execution_poller.poll(manifest("bad"), lambda row, result: None, report=refuse)
    assert [row.batch_id for row in bench.ledger.live(LINES).ready_to_plan] == ["bad"]
    _, told = poll(execution_poller, "bad")
    assert told == ["bad"]
    assert bench.ledger.get("bad").status is Status.FAILED


def test_a_batch_that_was_changed_meanwhile_is_reported_as_it_is(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Somebody reset it between the poll and its end: the last report and the bucket say what the row says."""
    openai_server.plant("openai-bad", input=input_lines(["a"]), errors=failed_line("a"))
    bench.row("bad")
    told: list[BatchSummary] = []

    def reset() -> None:
        bench.ledger.reset(bench.ledger.get("bad"), Status.CANCELLED)

    execution_poller.poll(manifest("bad"), lambda row, result: told.append(row), report=reset)
    assert [row.status for row in told] == [Status.FAILED, Status.CANCELLED]
    kept = BatchSummary.model_validate_json(bench.store.get(batch_key("bad")))
    assert kept == told[-1] == bench.ledger.get("bad")


HOUR = timedelta(hours=1)


def young(bench: Workbench, *names: str, **values: Any) -> None:
    """Rows of an hour ago."""
    for name in names:
        bench.row(name, datetime.now(UTC) - HOUR, **values)


def test_a_row_that_another_process_finished_is_kept_and_reported_as_it_is(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Two executions at once: the one that is late does not leave an older row behind, nor an older event."""
    planted(openai_server, "b1", 2)
    bench.row("b1")
    told: list[Status] = []

    def on_batch(row: BatchSummary, result: PollResult) -> None:
        told.append(row.status)
        bench.ledger.finish("b1", 0, Status.COMPLETED, {"embedded_count": 2})

    execution_poller.poll(manifest("b1"), on_batch)
    assert told == [Status.PENDING, Status.COMPLETED]
    kept = BatchSummary.model_validate_json(bench.store.get(batch_key("b1")))
    assert kept == bench.ledger.get("b1")


def test_another_project_ends_the_execution(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Planned with the right key, polled with another, or made by hand: no row and no object is changed.

    Only what is older than 30 days ends, and no retry of it is counted.
    """
    young(bench, "a", "b")
    bench.row("old")
    before = {name: bench.attributes(name) for name in ("a", "b")}
    with pytest.raises(ServiceError, match="another project"):
        poll(execution_poller, "a", "old", "b")
    assert {name: bench.attributes(name) for name in ("a", "b")} == before
    assert bench.keys() == {"poll_results/old/result.json", "poll_results/old/batch.json"}
    old = bench.ledger.get("old")
    assert (old.status, old.retryable_count) == (Status.FAILED, 0)


def test_the_list_tells_the_project_of_an_execution(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """It shows a final batch of this table: the unknown one is missing, and the execution goes on."""
    bench.row("done", status=Status.COMPLETED)
    planted(openai_server, "done", 1)
    young(bench, "lost")
    [result], told = poll(execution_poller, "lost")
    assert (result.action, result.missing, result.batch_status, told) == ("wait", True, "not_found", ["lost"])
    assert bench.ledger.get("lost").missing_since is not None


def test_one_known_batch_of_an_execution_is_enough(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """Then no list is read."""
    young(bench, "good", "lost")
    planted(openai_server, "good", 1)
    results, _ = poll(execution_poller, "good", "lost")
    assert [result.action for result in results] == ["process_results", "wait"]
    assert openai_server.requests("GET /v1/batches") == 0


def test_what_is_missing_is_noted_until_it_shows_up(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """The instant of the first look stays; the batch that is polled is missing no more."""
    young(bench, "other", "lost")
    planted(openai_server, "other", 1)
    poll(execution_poller, "other", "lost")
    first = bench.ledger.get("lost").missing_since
    assert first is not None
    poll(execution_poller, "other", "lost")
    assert bench.ledger.get("lost").missing_since == first
    planted(openai_server, "lost", 2)
    poll(execution_poller, "other", "lost")
    row = bench.ledger.get("lost")
    assert (row.missing_since, row.error, row.status) == (None, None, Status.PENDING)


def test_a_status_that_nobody_knows_is_noted(
    bench: Workbench, execution_poller: ExecutionPoller, openai_server: OpenAIServer
) -> None:
    """OpenAI's own word, until it says one that we know; the row stays as live as it was."""
    bench.row("b")
    for word, noted, status in (("Paused", "Paused", Status.PENDING), ("IN_PROGRESS", None, Status.IN_PROGRESS)):
        openai_server.plant("openai-b", fields={"status": word})
        [result], _ = poll(execution_poller, "b")
        row = bench.ledger.get("b")
        assert (result.action, row.openai_status, row.status) == ("wait", noted, status)


def test_a_damaged_version_is_no_batchs_fault(
    bench: Workbench, openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """A poll that meets a damaged pointer or manifest ends the execution; nobody is blamed."""
    openai_server.plant("openai-bad", input=input_lines(["a"]), errors=failed_line("a"))
    for name in ("failing", "bad"):
        bench.row(name)
    failing = FailingPoller(bench.store, openai, LINES, "arrow")
    failing.error, failing.others = DamagedVersionError("the chain of lines leads back"), threading.Barrier(2)
    with pytest.raises(DamagedVersionError, match="leads back"):
        ExecutionPoller(bench.store, bench.ledger, failing, LINES, 2).poll(
            manifest("failing", "bad"), lambda row, result: None
        )
    assert bench.ledger.get("failing").ingest_attempts == 0
