"""Marking: final statuses come from the published manifests, and a crash in between leaves nothing unmarked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.bucket.keys import batch_key
from embedding_assets.databases import LINES, WORDS
from embedding_assets.errors import TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status, parse_instant
from embedding_assets.ledger.bookmark import Bookmark, Marked
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.versions.mark import mark_chain, mark_published
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench, execution


def mark(bench: Workbench) -> list[str]:
    return [row.batch_id for row in mark_published(bench.store, bench.ledger, bench.database)]


def statuses(bench: Workbench, *batch_ids: str) -> dict[str, str]:
    rows = bench.ledger.get_many(batch_ids)
    return {batch_id: str(rows[batch_id].status) for batch_id in batch_ids}


def test_before_the_first_version_nothing_is_marked(bench: Workbench) -> None:
    """No pointer, nothing to read what is done from."""
    bench.row("b1")
    assert mark(bench) == []
    assert statuses(bench, "b1") == {"b1": "PENDING"}


def test_what_the_version_accounts_for_is_marked(bench: Workbench) -> None:
    """Status, counts, execution, version and instant; attributes that are not ours stay as they were."""
    foreign = {"team": "receipts", "nested": {"a": [1, Decimal("0.5")]}, "tags": {"x", "y"}}
    results = [
        bench.batch("b1", records("a", 3), at(0), failed=2, unfinished=1),
        bench.batch("b2", records("b", 2, 10), at(0), status="expired", unfinished=4),
        bench.batch("b3", records("c", 1, 20), at(0), status="cancelled"),
    ]
    bench.add_attributes("b1", **foreign)
    bench.row("other")
    merged = bench.merge(results, 1)
    assert statuses(bench, "b1", "b2", "b3") == dict.fromkeys(("b1", "b2", "b3"), "PENDING")
    assert sorted(mark(bench)) == ["b1", "b2", "b3"]
    assert statuses(bench, "b1", "b2", "b3", "other") == {
        "b1": "COMPLETED",
        "b2": "EXPIRED",
        "b3": "CANCELLED",
        "other": "PENDING",
    }
    told = bench.attributes("b1")
    assert {name: told[name] for name in foreign} == foreign
    assert (told["embedded_count"], told["failed_count"], told["unfinished_count"]) == (3, 2, 1)
    assert told["request_count"] == 6
    assert (told["execution_id"], told["snapshot_version"]) == (execution(1), merged.snapshot_version)
    assert told["GSI1PK"] == "STATUS#COMPLETED"
    parse_instant(told["completed_at"])
    assert bench.ledger.get("b2").unfinished_count == 4
    live = bench.ledger.live(LINES)
    assert [batch.batch_id for batch in live.ready_to_plan] == ["other"]


def test_a_row_that_dynamodb_does_not_take_keeps_no_other_from_being_marked(bench: Workbench) -> None:
    """Another program filled it since it was planned: the failure counts against its batch, with the reason."""
    bench.merge([bench.batch("b1", records("a", 2)), bench.batch("full", records("b", 2, 10))], 1)
    bench.add_attributes("full", filler="x" * 404_500)
    assert mark(bench) == ["b1"]
    assert statuses(bench, "b1") == {"b1": "COMPLETED"}
    assert bench.attributes("full")["status"] == "PENDING"
    [refused] = bench.ledger.live(LINES).refused
    assert refused.batch_id == "full"
    assert "of the 409,600 bytes" in refused.reason
    bench.add_attributes("full", filler="")
    assert mark(bench) == []


def test_marking_again_changes_nothing(bench: Workbench) -> None:
    """Not a single attribute, and nothing is told as marked; also without the bookmark."""
    bench.merge([bench.batch("b1", records("a", 3))], 1)
    assert mark(bench) == ["b1"]
    before = bench.attributes("b1")
    assert mark(bench) == []
    bench.ledger.client.delete_item(
        TableName=bench.ledger.table, Key={"PK": {"S": "MARKED#lines"}, "SK": {"S": "MARKED"}}
    )
    assert mark(bench) == []
    assert bench.attributes("b1") == before


def test_every_unmarked_version_is_marked_oldest_first(bench: Workbench) -> None:
    """A crash between publishing and marking, three times over: one call repairs all, in order of publication."""
    versions = {}
    for number in (1, 2, 3):
        merged = bench.merge([bench.batch(f"b{number}", records(f"r{number}-", 2, 10 * number))], number)
        versions[f"b{number}"] = merged.snapshot_version
    assert mark(bench) == ["b1", "b2", "b3"]
    rows = bench.ledger.get_many(versions)
    assert {name: row.snapshot_version for name, row in rows.items()} == versions


def test_a_batch_of_two_unmarked_versions_gets_the_first(bench: Workbench) -> None:
    """It was published by the older one; the newer one found it unchanged."""
    result = bench.batch("b1", records("a", 2))
    first = bench.merge([result], 1)
    second = bench.merge([result], 2)
    assert first.snapshot_version != second.snapshot_version
    assert mark(bench) == ["b1"]
    assert bench.ledger.get("b1").snapshot_version == first.snapshot_version


@pytest.mark.parametrize("status", [Status.PENDING, Status.IN_PROGRESS, Status.CANCELING])
def test_only_the_manifests_generation_is_marked(bench: Workbench, status: Status) -> None:
    """A batch opened again since it was polled stays live, whichever live status it has."""
    bench.merge([bench.batch("b1", records("a", 2))], 1)
    row = bench.ledger.get("b1")
    bench.ledger.reset(bench.ledger.reset(row, Status.FAILED), status)
    assert mark(bench) == []
    assert statuses(bench, "b1") == {"b1": str(status)}


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED])
def test_a_final_row_is_left_as_it_is(bench: Workbench, status: Status) -> None:
    """Whatever final status it has: marking never changes one final status for another."""
    bench.merge([bench.batch("b1", records("a", 2))], 1)
    bench.ledger.reset(bench.ledger.get("b1"), status)
    before = bench.attributes("b1")
    assert mark(bench) == []
    assert bench.attributes("b1") == before


def test_a_batch_without_a_row_makes_none(bench: Workbench) -> None:
    """A row that was deleted meanwhile is not brought back half."""
    bench.merge([bench.batch("b1", records("a", 2)), bench.batch("b2", records("b", 2, 10))], 1)
    bench.forget("b1")
    assert mark(bench) == ["b2"]
    assert bench.ledger.get_many(["b1"]) == {}


def test_a_reopened_batch_is_marked_with_its_new_generation(bench: Workbench) -> None:
    """Published, marked, opened again, published again, marked again."""
    bench.merge([bench.batch("b1", records("a", 2))], 1)
    mark(bench)
    reopened = bench.ledger.reopen(bench.ledger.get("b1"))
    assert (reopened.status, reopened.generation) == (Status.PENDING, 1)
    assert mark(bench) == []
    bench.forget("b1")
    merged = bench.merge([bench.batch("b1", records("a", 2, 50), generation=1)], 2)
    assert mark(bench) == ["b1"]
    assert bench.ledger.get("b1").snapshot_version == merged.snapshot_version


class ThrottledLedger(Ledger):
    """A ledger that cannot finish one batch."""

    victim = ""

    def finish(self, batch_id: str, *rest: Any) -> BatchSummary | None:
        if batch_id == self.victim:
            raise TransientError("throttled")
        return super().finish(batch_id, *rest)


def test_a_crash_while_marking_is_repaired(bench: Workbench) -> None:
    """Half of the batches marked, then nothing more: the bookmark is not set, the next call marks the rest."""
    bench.merge([bench.batch(f"b{number}", records(f"r{number}-", 2, 10 * number)) for number in range(6)], 1)
    throttled = ThrottledLedger(bench.ledger.table, bench.ledger.client)
    throttled.victim = "b3"
    with pytest.raises(TransientError):
        mark_published(bench.store, throttled, LINES)
    assert statuses(bench, "b3") == {"b3": "PENDING"}
    assert "b3" in mark(bench)
    assert set(statuses(bench, *(f"b{number}" for number in range(6))).values()) == {"COMPLETED"}


def test_the_bookmark_is_each_databases_own(bench: Workbench) -> None:
    """It spares reading the chain, and neither database takes the other's."""
    merged = bench.merge([bench.batch("b1", records("a", 2))], 1)
    mark(bench)
    lines, words = (
        Bookmark(bench.ledger.client, bench.ledger.table, database.name) for database in (LINES, WORDS)
    )
    assert lines.read() == Marked(merged.snapshot_version, None)
    assert words.read() == Marked(None, None)
    assert mark_published(bench.store, bench.ledger, WORDS) == []


def test_the_bookmark_is_no_batch(bench: Workbench) -> None:
    """It lies in the table of the rows and is neither listed nor refused."""
    bench.merge([bench.batch("b1", records("a", 2))], 1)
    mark(bench)
    live = bench.ledger.live(LINES)
    assert (live.ready_to_plan, live.set_aside, live.refused) == ((), (), ())


@pytest.mark.parametrize("breaks", ["keep", "report"])
def test_what_an_interrupted_marking_did_not_tell_is_told_by_the_next(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    """Rows that have their final status already: the bucket gets them as they are, and so does Dagster."""
    bench.merge([bench.batch("b1", records("a", 2)), bench.batch("b2", records("b", 2, 10))], 1)
    published = bench.pointer().manifest

    def broken(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if breaks == "keep":
            patched.setattr("embedding_assets.versions.mark.keep_row", broken)
        with pytest.raises(KeyboardInterrupt):
            mark_chain(bench.store, bench.ledger, bench.database, published, broken)
    assert statuses(bench, "b1", "b2") == {"b1": "COMPLETED", "b2": "COMPLETED"}
    told: list[BatchSummary] = []
    again = mark_chain(bench.store, bench.ledger, bench.database, published, told.extend)
    assert (again, sorted(row.batch_id for row in told)) == ([], ["b1", "b2"])
    kept = [BatchSummary.model_validate_json(bench.store.get(batch_key(name))) for name in ("b1", "b2")]
    assert [str(row.status) for row in kept] == ["COMPLETED", "COMPLETED"]
    mark_chain(bench.store, bench.ledger, bench.database, published, broken)
