"""`init`: makes what is missing, leaves what is there, and only tells with `--dry-run`."""

from __future__ import annotations

import uuid

import pytest

from embedding_assets_tests.cli.commands import command, failed
from embedding_assets_tests.dagster_defs.runs.world import World


def test_it_makes_table_and_bucket_once(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown first, then made, then left as they are; every other command can use them."""
    table, bucket = f"table-{uuid.uuid4().hex}", f"bucket-{uuid.uuid4().hex}"
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", table)
    monkeypatch.setenv("CHROMADB_BUCKET", bucket)
    planned = command("init", "--dry-run")
    assert planned.code == 0
    assert f"table   {table} would be made" in planned.stdout
    assert f"bucket  {bucket} would be made" in planned.stdout
    document = command("init", "--dry-run", "--json").json
    assert (document["table"]["there"], document["bucket"]["there"]) == (False, False)
    assert document["table"]["arguments"]["TableName"] == table
    assert "not found" in failed("status"), "the dry run made something"
    made = command("init", "--json").json
    assert (made["table"]["there"], made["bucket"]["there"]) == (False, False)
    again = command("init")
    assert again.stdout.splitlines()[:2] == [f"table   {table} is there", f"bucket  {bucket} is there"]
    assert command("status").stdout == "no batches\n"
    assert command("snapshots", "list", "lines").stdout == "lines has no published version yet\n"


def test_a_bucket_in_another_region_is_made_there(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 wants the region named, except the first one."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("CHROMADB_BUCKET", f"bucket-{uuid.uuid4().hex}")
    arguments = command("init", "--dry-run", "--json").json["bucket"]["arguments"]
    assert arguments["CreateBucketConfiguration"] == {"LocationConstraint": "eu-west-1"}


def test_readers_need_no_table(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads the bucket alone runs without DYNAMODB_TABLE_NAME; `status` names it."""
    monkeypatch.delenv("DYNAMODB_TABLE_NAME")
    assert command("snapshots", "list", "lines").stdout == "lines has no published version yet\n"
    for arguments in (("search", "lines", "text"), ("snapshots", "verify", "lines")):
        assert "no published version" in failed(*arguments)
    assert failed("status").startswith("DYNAMODB_TABLE_NAME is not set")
