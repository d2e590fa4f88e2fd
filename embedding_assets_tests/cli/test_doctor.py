"""`doctor` as a person and as a script see it: the table, the document, the exit code, one line when it fails."""

from __future__ import annotations

import pytest

from embedding_assets.bucket.keys import DOCTOR_PREFIX
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.dagster_defs.runs.world import World

SMALL = ("--rounds", "2", "--threads", "3")


def left(world: World) -> set[str]:
    """What of the doctor is in the bucket or the table."""
    return world.keys(DOCTOR_PREFIX) | {key for key in world.rows() if key.startswith("DOCTOR")}


def test_a_good_account_as_json(shared: World) -> None:
    """One document with every check; progress on stderr; exit code 0; nothing is left."""
    outcome = command("doctor", "--json", *SMALL)
    assert outcome.code == 0, outcome
    assert set(outcome.json) == {"ok", "checks"}
    assert outcome.json["ok"] is True
    checks = outcome.json["checks"]
    assert all(set(check) == {"name", "status", "message", "seconds"} for check in checks)
    assert {check["status"] for check in checks} == {"ok"}
    assert outcome.stderr.splitlines() == [check["name"] for check in checks]
    names = {check["name"] for check in checks}
    assert names >= {"S3 replacement race", "DynamoDB update race", "words published", "OpenAI model"}
    races = [check["message"] for check in checks if check["name"].endswith("race")]
    assert races == ["2 rounds of 3 writers at once, exactly one won each"] * 4
    assert left(shared) == set()


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_good_account_for_a_person(shared: World, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """A table that fits its terminal, in which no check's name is cut."""
    monkeypatch.setenv("COLUMNS", columns)
    outcome = command("doctor", *SMALL)
    assert outcome.code == 0, outcome
    assert max(map(len, outcome.stdout.splitlines())) <= int(columns)
    assert "│ DynamoDB creation race  │ ok     │ 2 rounds of 3 writers" in outcome.stdout
    assert "…" not in outcome.stdout


def test_a_bucket_that_is_not_there(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; the last line on stderr says how many failed and which; the document is whole all the same."""
    monkeypatch.setenv("CHROMADB_BUCKET", "no-such-bucket")
    monkeypatch.setenv("EMBEDDING_ASSETS_MODEL", "text-embedding-9-huge")
    outcome = command("doctor", "--json", *SMALL)
    checks = outcome.json["checks"]
    failed = [check["name"] for check in checks if check["status"] == "failed"]
    assert failed == ["S3 bucket", "OpenAI model"]
    assert (outcome.code, outcome.json["ok"]) == (1, False)
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: 2 of {len(checks)} checks failed: S3 bucket, OpenAI model"]
    assert outcome.stderr.splitlines()[-1] == errors[0]
    assert left(shared) == set()


@pytest.mark.parametrize("option", [("--rounds", "0"), ("--threads", "1"), ("--threads", "65")], ids=" ".join)
def test_races_need_rounds_and_writers(option: tuple[str, str]) -> None:
    """Anything else is wrong usage, before any setting is read."""
    outcome = command("doctor", *option)
    assert outcome.code == 2
    assert option[0] in outcome.error
