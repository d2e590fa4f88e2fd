"""Asset checks: they pass on a good run, and each fails on what it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.errors import TransientError
from embedding_assets_tests.dagster_defs.checks.examined import CHECKED, Examined, plain

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
SEVERITY = {
    **dict.fromkeys(("conserved", "all_planned", "all_folded", "published"), ERROR),
    **dict.fromkeys(("failed_requests", "vectors", "ids", "index", "marked"), WARN),
}

Tamper = Callable[[Examined], None]


def told_by_runs(examined: Examined) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """What the checks of each ingest's own run found, by execution and check."""
    found = {}
    for record in examined.world.instance.get_run_records():
        execution = record.dagster_run.tags.get("dagster/partition")
        logs = examined.world.instance.all_logs(
            record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        for entry in logs:
            if execution is not None and entry.dagster_event is not None:
                evaluation = entry.dagster_event.asset_check_evaluation_data
                found[execution, evaluation.check_name] = evaluation
    return found


def test_each_ingest_runs_them(examined: Examined) -> None:
    """A good execution passes all; one with requests that failed is warned of, and passes the others."""
    told = told_by_runs(examined)
    assert {key: found.passed for key, found in told.items()} == {
        (execution, check): check != "failed_requests" or execution == examined.first
        for execution in (examined.first, examined.second)
        for check in CHECKED
    }
    conserved = told[examined.second, "conserved"]
    assert conserved.description == (
        "8 requested = 2 embedded + 2 failed + 4 unfinished, in 3 of 3 planned batches"
    )
    assert plain(conserved)["execution_id"] == examined.second
    failed = told[examined.second, "failed_requests"]
    assert failed.severity == WARN
    assert (failed.description or "").startswith("6 of 8 requests have no embedding: ")
    assert "| 1 | failed | `server_error` | yes |" in plain(failed)["details"]
    assert "| 1 | failed | `invalid_request` | no |" in plain(failed)["details"]
    version = examined.world.published()
    published = plain(told[examined.second, "published"])
    assert (published["version"], published["total_embeddings"]) == (version.version, 5)
    assert published["content_digest"] == version.content_digest
    assert plain(told[examined.second, "marked"])["to_be_marked"] == 2, "marking comes after the run"


def test_by_hand_they_look_at_the_latest_execution(examined: Examined) -> None:
    """Without a partition; and what had to be marked is marked by now."""
    found = examined.look("marked")
    assert found.passed
    assert (plain(found)["execution_id"], plain(found)["marked"]) == (examined.second, 2)
    assert examined.look("conserved").passed
    assert examined.look("published").passed


def change_result(**values: Any) -> Tamper:
    """Change the poll result of `some` in the second execution."""

    def tamper(examined: Examined) -> None:
        key = f"poll_results/{examined.second}/poll_results.json"
        examined.rewrite(
            key,
            lambda results: [
                {**result, **values} if result["batch_id"] == "some" else result for result in results
            ],
        )

    return tamper


def lose_result(examined: Examined) -> None:
    """Take the first poll result of the second execution out."""
    examined.rewrite(f"poll_results/{examined.second}/poll_results.json", lambda results: results[1:])


def repeat_result(examined: Examined) -> None:
    """Put the first poll result in twice."""
    examined.rewrite(f"poll_results/{examined.second}/poll_results.json", lambda it: [it[0], *it])


def lose_results(examined: Examined) -> None:
    """Delete all poll results of the second execution."""
    examined.world.services.store.delete([f"poll_results/{examined.second}/poll_results.json"])


def break_results(examined: Examined) -> None:
    """Leave something that is no list of poll results."""
    examined.world.services.store.put(f"poll_results/{examined.second}/poll_results.json", b"{}")


def lose_errors(examined: Examined) -> None:
    """Delete a batch's errors."""
    examined.world.services.store.delete(["poll_results/partly/errors.jsonl"])


def refuse(*codes: str) -> Tamper:
    """Let the two requests of `some` without an embedding have these codes."""

    def tamper(examined: Examined) -> None:
        lines = [
            {"id": f"some-{number}", "reason": "failed", "code": code, "message": "m"}
            for number, code in enumerate(codes)
        ]
        data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        examined.world.services.store.put("poll_results/some/errors.jsonl", data)

    return tamper


def change_chunks(change: Callable[[Any], Any]) -> Tamper:
    """Change the plan of the second execution."""
    return lambda examined: examined.rewrite(f"chunks/{examined.second}/chunks.json", change)


def change_merged(change: Callable[[list[Any]], list[Any]]) -> Tamper:
    """Change what the second execution says of its merged chunks."""
    return lambda examined: examined.rewrite(
        f"intermediate/{examined.second}/snapshots.json",
        lambda merged: {**merged, "chunks": change(merged["chunks"])},
    )


def shrink_delta(examined: Examined) -> None:
    """Let a delta tell another count."""
    key = examined.world.json("poll_results/some/result.json")["delta_key"]
    examined.rewrite(f"{key}manifest.json", lambda manifest: {**manifest, "count": 0})


def rewrite_row(examined: Examined, **values: Any) -> None:
    """Change the row of `some`."""
    row = examined.world.row("some")
    plain_row = {name: value if isinstance(value, str) else int(value) for name, value in row.items()}
    del plain_row["batch_id"]
    examined.world.put_row("some", **{**plain_row, **values})


def change_row(examined: Examined) -> None:
    """Let a row tell that more was requested."""
    rewrite_row(examined, request_count=4)


def change_pointer(**values: Any) -> Tamper:
    """Change the published manifest."""

    def tamper(examined: Examined) -> None:
        examined.rewrite("lines/snapshot/latest/manifest.json", lambda manifest: {**manifest, **values})

    return tamper


def fork_chain(examined: Examined) -> None:
    """Let the pointer name the version before, as if another had written it."""
    store = examined.world.services.store
    parent = examined.world.published().parent
    store.put("lines/snapshot/latest/manifest.json", store.get(f"lines/snapshot/versions/{parent}/manifest.json"))
    # By hand the checks look at the latest execution: which the first is now. It took part in both.
    examined.rewrite(
        f"manifests/{examined.first}/final_snapshot.json",
        lambda result: {
            **result,
            "snapshot_version": examined.world.json(f"manifests/{examined.second}/final_snapshot.json")[
                "snapshot_version"
            ],
        },
    )


def index_key(examined: Examined) -> str:
    """Where the record index of the published version lies."""
    return next(file.key for file in examined.world.published().files if file.path == "records.arrow")


def lose_index(examined: Examined) -> None:
    """Delete the record index."""
    examined.world.services.store.delete([index_key(examined)])


def damage_index(examined: Examined) -> None:
    """Change the record index's bytes."""
    examined.world.services.store.put(index_key(examined), b"damaged")


def lose_pointer(examined: Examined) -> None:
    """Let the result be of a version that no pointer leads to."""
    examined.rewrite(
        f"manifests/{examined.second}/final_snapshot.json", lambda it: {**it, "snapshot_version": "9-000000000000"}
    )


def point_to_the_first(examined: Examined, batches: list[str]) -> None:
    """Let the result be of the version that the other execution published, and of these batches."""
    parent = examined.world.published().parent
    examined.rewrite(
        f"manifests/{examined.second}/final_snapshot.json",
        lambda it: {**it, "snapshot_version": parent, "batches": batches},
    )


def lose_accounts(examined: Examined) -> None:
    """Let it be of a batch that no version accounts for."""
    point_to_the_first(examined, ["stranger"])


@pytest.mark.parametrize(
    ("check", "tamper", "line"),
    [
        ("conserved", change_result(embedding_count=7), "its delta has 1"),
        ("conserved", change_result(unfinished_count=7), "errors.jsonl lists 0"),
        ("conserved", lose_result, "planned, but has no poll result"),
        ("conserved", repeat_result, "has several poll results"),
        ("conserved", change_result(batch_id="stranger"), "planned, but has no poll result"),
        ("conserved", lose_results, "NotFoundError"),
        ("conserved", break_results, "DamagedError"),
        ("conserved", lose_errors, "errors.jsonl lists 0"),
        ("conserved", shrink_delta, "its delta has 0"),
        ("conserved", change_row, "4 requested, but 1 embedded + 2 failed + 0 unfinished"),
        ("vectors", refuse("not_finite", "zero_vector"), "2 requests not published for the vector"),
        ("vectors", refuse("wrong_dimensions", "server_error"), "| 1 | `wrong_dimensions` | `some` | `some-0` |"),
        ("ids", refuse("duplicate_id", "no_id"), "2 requests with an id that is there twice, or without one"),
        ("ids", change_result(unknown_count=3), "3 answers to ids that nobody asked for"),
        ("ids", change_result(repeated_count=1), "1 further answers to an id that was answered"),
        ("all_planned", change_chunks(lambda chunks: []), "in no chunk: lines/"),
        ("all_planned", change_chunks(lambda chunks: [*chunks, *chunks]), "too often in a chunk: lines/"),
        ("all_folded", change_merged(lambda chunks: []), "chunk 0: 2 embeddings in its deltas, none merged"),
        ("all_folded", change_merged(lambda chunks: [{**chunks[0], "rows_in": 1}]), "its deltas, 1 merged"),
        ("all_folded", change_merged(lambda chunks: [*chunks, *chunks]), "chunk 0: merged twice"),
        (
            "all_folded",
            change_merged(lambda it: [*it, {**it[0], "number": 7}]),
            "chunk 7: merged, but not planned",
        ),
        ("published", change_pointer(total_embeddings=6), "its record index has 5"),
        ("published", change_pointer(content_digest="0" * 64), "its record index gives"),
        ("published", lose_index, "is missing"),
        ("published", damage_index, "size or sha256"),
        ("published", lose_pointer, "is not in the chain"),
        ("published", lose_accounts, "no published version accounts for stranger"),
        ("published", fork_chain, "is not in the chain"),
        ("index", change_pointer(nodes=100), "its graph has 100 nodes for 5 records; `snapshots rebuild lines`"),
        ("index", change_pointer(recall=0.5), "searches find only 0.500 of the nearest records"),
    ],
)
def test_each_fails_on_what_it_is_for(examined: Examined, check: str, tamper: Tamper, line: str) -> None:
    """An ERROR that says what is wrong; the run of the check itself succeeds."""
    tamper(examined)
    found = examined.look(check)
    assert not found.passed
    assert found.severity == SEVERITY[check]
    assert line in f"{found.description} {plain(found).get('details')}"


def test_what_another_execution_published_first_is_published(examined: Examined) -> None:
    """Two executions of the same batches: wasteful, not wrong."""
    accounted = [batch.batch_id for batch in examined.world.published().batches]
    point_to_the_first(examined, accounted)
    assert examined.look("published").passed


def test_what_stays_unmarked_is_warned_of(examined: Examined) -> None:
    """A batch of a version older than the time that marking takes is live again, and of the same generation."""
    rewrite_row(examined, status="PENDING", GSI1PK="STATUS#PENDING")
    assert examined.look("marked").passed, "it is given its time"
    change_pointer(created_at="2026-01-02T00:00:00Z")(examined)
    found = examined.look("marked")
    assert (found.passed, found.severity) == (False, WARN)
    assert found.description == "1 batch published and still not marked: some"


def test_an_older_version_that_gc_took_is_no_damage(examined: Examined) -> None:
    """Only its manifest stays; the check of its execution's run says what it says."""
    from embedding_assets.dagster_defs.checks.publication import published
    from embedding_assets.databases import LINES

    store = examined.world.services.store
    parent = examined.world.published().parent
    store.delete([f"lines/snapshot/versions/{parent}/records.arrow"])
    assert published(store, LINES, examined.first).holds


def test_a_check_that_cannot_look_warns(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass is no error of the data."""

    def unreachable(self: Store, key: str) -> bytes:
        raise TransientError(f"reading {key}: throttled")

    monkeypatch.setattr(Store, "get", unreachable)
    found = examined.look("conserved")
    assert (found.passed, found.severity) == (False, WARN)
    assert "throttled" in (found.description or "")


def test_nothing_published_yet_is_nothing_wrong(examined: Examined) -> None:
    """By hand, before the first execution."""
    examined.world.services.store.delete(["lines/snapshot/latest/manifest.json"])
    assert all(examined.look(check).passed for check in ("conserved", "published"))
