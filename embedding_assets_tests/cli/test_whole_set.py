"""`submit --complete`: the files are the whole set, and what is in none of them is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embedding_assets_tests.cli.commands import command, failed
from embedding_assets_tests.dagster_defs.runs.world import World


def line(number: int, text: str = "text") -> dict[str, str]:
    """One record."""
    return {"id": f"r{number}", "text": f"{text} {number}"}


def test_what_is_in_no_file_is_deleted(world: World, file: Callable[..., Path]) -> None:
    """What is published and what is on its way; more than a fifth only with --yes. The same again does nothing."""
    command("submit", "lines", str(file(*(line(number) for number in range(10)))))
    assert command("ingest", "--wait", "--timeout", "60", "--json").json["waiting"] == []
    command("submit", "lines", str(file(line(10), line(11))))
    kept = file(*(line(number) for number in range(3, 11)), name="kept.jsonl")
    assert failed("submit", "lines", str(kept), "--complete") == (
        "4 of 12 records of lines are in none of the files and would be deleted; --yes deletes them"
    )
    assert (
        command("submit", "lines", str(kept), "--complete", "--yes", "--dry-run", "--json").json["deletions"] == 4
    )
    sent = command("submit", "lines", str(kept), "--complete", "--yes", "--json").json
    assert (sent["deletions"], sent["requests"], sent["skipped"]) == (4, 0, 8)
    command("ingest", "--wait", "--json")
    hits = command("search", "lines", "text", "-k", "50", "--json").json["hits"]
    assert {hit["id"] for hit in hits} == {f"r{number}" for number in range(3, 11)}
    again = command("submit", "lines", str(kept), "--complete", "--json").json
    assert (again["batches"], again["deletions"], again["requests"]) == ([], 0, 0)


def test_wrong_usage_is_one_line(file: Callable[..., Path]) -> None:
    """Nothing is read or sent."""
    for arguments in (["--complete"], ["--yes", str(file(line(1)))], ["--complete", "--delete-ids", "x", "y"]):
        assert command("submit", "lines", *arguments).code == 2
    assert command("ingest", "--timeout", "3").code == 2
