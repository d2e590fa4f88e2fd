"""Least privilege: what each role calls is what their policies in `deploy/policies` allow."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from embedding_assets import open_snapshot
from embedding_assets.databases import LINES
from embedding_assets.submission.inbox import Inbox
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.dagster_defs.runs.world import World, texts

POLICIES = Path(__file__).parent.parent.parent / "deploy" / "policies"
ACTIONS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "DeleteObjects": "s3:DeleteObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
}
"""The actions of IAM whose names are not those of the calls."""
ONLY_SOMETIMES = {
    "s3:DeleteObject",  # gc, and what an interrupted upload left
    "s3:AbortMultipartUpload",  # a large file whose upload broke off
}

Call = tuple[str, str]


@contextmanager
def recorded() -> Iterator[set[Call]]:
    """Every call of boto3 in the block, as action and resource."""
    calls: set[Call] = set()
    send = BaseClient._make_api_call  # type: ignore[attr-defined]

    def noted(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        action = ACTIONS.get(operation, f"{service}:{operation}")
        if service == "s3":
            key = arguments.get("Key")
            calls.add((action, "bucket" if key is None and action == "s3:ListBucket" else f"bucket/{key}"))
        else:
            calls.add((action, "table/index/GSI1" if arguments.get("IndexName") else "table"))
        return send(client, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", noted)
        yield calls


def allowed(role: str) -> set[Call]:
    """The actions and resources of a role's policy, under short names."""
    found: set[Call] = set()
    for statement in json.loads((POLICIES / f"{role}.json").read_text())["Statement"]:
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            short = resource.replace("arn:aws:s3:::my-embeddings", "bucket")
            short = short.replace("arn:aws:dynamodb:REGION:ACCOUNT:table/my-embeddings", "table")
            found |= {(action, short) for action in statement["Action"]}
    return found


def denied(calls: set[Call], role: str) -> set[Call]:
    """The calls that no statement allows."""
    rules = allowed(role)
    return {
        call
        for call in calls
        if not any(call[0] == rule[0] and fnmatch.fnmatch(call[1], rule[1]) for rule in rules)
    }


def test_a_worker_and_a_reader(plain_world: World, tmp_path: Path) -> None:
    """A whole ingest calls what the worker's policy allows, and all of it; reading is one action on one prefix."""
    world = plain_world
    for name in ("one", "two"):
        world.plant(name, texts(f"{name}-", 2), kept=name == "one")
    with recorded() as calls:
        assert world.ingest().failures == []
    assert denied(calls, "worker") == set()
    assert {action for action, _ in allowed("worker")} - {action for action, _ in calls} <= ONLY_SOMETIMES
    with (
        recorded() as calls,
        open_snapshot("lines", bucket=world.bucket, cache_dir=tmp_path / "cache") as snapshot,
    ):
        assert snapshot.collection.count() == 4
    assert denied(calls, "reader") == set()
    assert {action for action, _ in calls} == {"s3:GetObject"}
    assert LINES.name == snapshot.manifest.database


def test_what_a_worker_does_besides(plain_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resubmission, reprocessing, rollback, verification, gc: nothing beyond its policy; it has to delete."""
    monkeypatch.setenv("EMBEDDING_ASSETS_GC_MIN_AGE_SECONDS", "0")
    world = plain_world
    world.plant("one", texts("one-", 2))
    assert world.ingest().failures == []
    world.plant("two", texts("two-", 3), answered=texts("two-", 1), status="expired", kept=True)
    with recorded() as calls:
        assert world.ingest().failures == []
        for words in (
            ("resubmit", "--batch", "two"),
            ("reprocess", "--batch", "one"),
            ("ingest",),
            ("snapshots", "rollback", "lines"),
            ("snapshots", "verify", "lines"),
            ("snapshots", "gc", "lines"),
        ):
            assert command(*words).code == 0, words
    assert denied(calls, "worker") == set()
    assert "s3:DeleteObject" in {action for action, _ in calls}


def test_a_submitter(plain_world: World, tmp_path: Path) -> None:
    """First records, then one that reuses a published text, and the inbox: what its policy allows, all of it."""
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"id": "a", "text": "one text"}) + "\n")
    with recorded() as calls:
        assert command("submit", "lines", str(records)).code == 0
    command("ingest", "--wait")
    again = json.dumps({"id": "b", "text": "one text"}) + "\n"
    records.write_text(again)
    inbox = Inbox(plain_world.services.store, LINES, plain_world.services.submitter(LINES, print))
    inbox.store.put(f"{inbox.prefix}later.jsonl", again.replace("one text", "another text").encode())
    with recorded() as more:
        assert command("submit", "lines", str(records), "--json").json["reused"] == 1
        assert [one.problem for one in inbox.submit_all()] == [None]
    assert denied(calls | more, "submitter") == set()
    assert {action for action, _ in allowed("submitter")} - {
        action for action, _ in calls | more
    } <= ONLY_SOMETIMES


def test_a_reader_and_a_submitter_cannot_publish() -> None:
    """Neither may write a version, the pointer, or delete anything."""
    pointer = {("s3:PutObject", "bucket/lines/snapshot/latest/manifest.json"), ("s3:DeleteObject", "bucket/x")}
    for role in ("reader", "submitter"):
        assert denied(pointer, role) == pointer
