"""A Chroma server as a target: it gets every version, and a batch is marked once it has it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedding_assets.chroma.server import ServerAddress, open_server
from embedding_assets.databases import LINES
from embedding_assets.errors import SettingsError
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Intermediate, split_chunks
from embedding_assets.operations.doctor.check import run_checks
from embedding_assets.operations.doctor.targets import target_checks
from embedding_assets.targets.address import Target, parse_targets
from embedding_assets.targets.sync import Synced
from embedding_assets.targets.verify import TargetFinding
from embedding_assets_tests.cli.commands import command, failed
from embedding_assets_tests.dagster_defs.runs.world import World, texts
from embedding_assets_tests.deltas import at, put_delta
from embedding_assets_tests.targets.counting_proxy import counting_proxy
from embedding_assets_tests.targets.server import ChromaServer

CHANGED = 3_500
"""Records that each version of these tests changes: four calls to the server."""
RUN = [sys.executable, "-m", "embedding_assets.command", "targets", "sync", "lines"]


def target(world: World) -> Target:
    """The target of the world."""
    [only] = world.services.targets
    return only


def sync(world: World, *, everything: bool = False) -> Synced:
    """Bring it to what is published."""
    return world.services.target_sync(LINES, target(world), lambda line: None).bring(everything=everything)


def verify(world: World) -> TargetFinding:
    """Compare it, record by record."""
    return world.services.verify_target(LINES, target(world))


def test_what_the_setting_may_be() -> None:
    """Names, addresses with their ports, a token; nothing else."""
    near, far = parse_targets(
        "near=chroma+http://localhost/t/d , far=chroma+https://u:s%40cret@api.trychroma.com/a/b%20c"
    )
    assert near == Target("near", ServerAddress("localhost", 8000, False, "t", "d"))
    assert far == Target("far", ServerAddress("api.trychroma.com", 443, True, "a", "b c", "s@cret"))
    assert "cret" not in far.address.shown
    assert (near.address.most_at_once(5_461), near.address.most_at_once(50)) == (1_000, 50)
    assert (far.address.most_at_once(5_461), far.address.most_at_once(50)) == (300, 50)
    assert parse_targets(None) == parse_targets(" , ") == ()


@pytest.mark.parametrize(
    "wrong",
    [
        "chroma+http://h/t/d",
        "a b=chroma+http://h/t/d",
        "x=http://h/t/d",
        "x=chroma+http:///t/d",
        "x=chroma+http://h/t",
        "x=chroma+http://h:port/t/d",
        "x=chroma+http://u:secretword@h/t/d/e",
        "x=chroma+http://h/t/d,x=chroma+http://i/t/d",
    ],
)
def test_what_it_must_not_be(wrong: str) -> None:
    """One line, without what may be secret."""
    with pytest.raises(SettingsError, match="EMBEDDING_ASSETS_TARGETS") as found:
        parse_targets(wrong)
    assert "secretword" not in str(found.value)


def test_each_version_reaches_the_target_before_its_batches_are_marked(world: World) -> None:
    """New, replaced and deleted records, and no more than these; a rollback too."""
    world.plant("first", texts("a", 6))
    assert world.ingest().marked == ["first"]
    first = world.published()
    assert verify(world) == TargetFinding("far", "lines", first.version, True, first.content_digest)
    world.plant("second", [*texts("a", 2, 50), *texts("b", 1)], row={"submitted_at": at(1).isoformat()})
    world.delete("gone", ["a5"], submitted_at=at(2).isoformat())
    report = world.ingest()
    assert set(report.marked) == {"second", "gone"}
    second = world.published()
    assert verify(world).content_digest == second.content_digest != first.content_digest
    assert sync(world) == Synced("far", "lines", second.version)
    world.services.rollback(LINES, lambda line: None).to(first.version, "20260102T120000Z-0123abcd")
    back = sync(world)
    assert (back.version, back.written, back.removed, back.whole) == (world.published().version, 3, 1, False)
    assert verify(world).content_digest == first.content_digest


def test_only_what_changed_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from the bucket: the version itself is not read, its deltas are."""
    world.plant("first", texts("a", 40))
    world.ingest()
    monkeypatch.setattr(
        "embedding_assets.targets.changed_rows.verified_rows", lambda *given: pytest.fail("read whole")
    )
    world.plant("second", texts("a", 3, 90), row={"submitted_at": at(1).isoformat()})
    assert world.ingest().marked == ["second"]
    assert verify(world).ok


def test_while_the_server_is_away_nothing_is_marked_or_done_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, and nothing is planned again; when it is back the batch is marked, by that version."""
    there = world.services.targets
    vars(world.services)["targets"] = parse_targets("far=chroma+http://127.0.0.1:9/default_tenant/none")
    world.plant("first", texts("a", 3))
    report = world.ingest()
    assert report.marked == []
    [failure] = report.failures
    assert "the Chroma server http://127.0.0.1:9/default_tenant/none cannot be reached" in failure
    published = world.published().version
    assert world.row("first")["status"] == "PENDING"
    again = world.ingest()
    assert (again.executions, again.marked) == ([], [])
    vars(world.services)["targets"] = there
    assert world.ingest().marked == ["first"]
    assert world.published().version == published
    assert verify(world).ok


def test_what_others_do_to_it_is_found_and_mended(world: World) -> None:
    """A record that is gone, one too many, one that is another."""
    world.plant("first", texts("a", 5))
    world.ingest()
    server = open_server(target(world).address, LINES.collection, LINES.space)
    [page] = server.rows(["a0"])
    server.delete(["a0", "a1"])
    page.ids[0], page.documents[0] = "stranger", "s"
    server.add(page)
    page.ids[0] = "a1"
    server.add(page)
    found = verify(world)
    assert (found.ok, found.content_digest) == (False, None)
    assert found.problems == (
        "1 records are missing, 'a0' among them",
        "1 records are too many, 'stranger' among them",
        "1 records differ, 'a1' among them",
    )
    assert sync(world).written == 0, "nothing was published since"
    mended = sync(world, everything=True)
    assert (mended.written, mended.removed, mended.whole) == (2, 1, True)
    assert verify(world).ok


def test_the_commands(world: World) -> None:
    """`list`, `sync` and `verify`, for people and as JSON."""
    world.plant("first", texts("a", 2))
    world.ingest()
    version = world.published().version
    [row] = [one for one in command("targets", "list", "--json").json if one["database"] == "lines"]
    assert (row["target"], row["version"], row["published"]) == ("far", version, version)
    assert "the same" in command("targets", "list", "lines").stdout
    assert command("targets", "sync", "lines", "--json").json == [
        {"target": "far", "database": "lines", "version": version, "written": 0, "removed": 0, "whole": False}
    ]
    assert command("targets", "verify", "lines").stdout == f"far: lines is version {version}, record by record\n"
    assert "no target 'near'" in failed("targets", "sync", "--target", "near")


def test_doctor_reaches_it_before_the_first_write(world: World) -> None:
    """It tells the server's limit; a server that is not there is one failed check."""
    [found] = run_checks(target_checks(world.services.targets), lambda name: None)
    assert (found.name, found.status) == ("target far", "ok")
    assert "takes 5,461 records at once" in found.message
    away = parse_targets("away=chroma+http://127.0.0.1:9/default_tenant/none")
    [found] = run_checks(target_checks(away), lambda name: None)
    assert (found.status, "cannot be reached" in found.message) == ("failed", True)


def publish(world: World, count: int, seed: int) -> None:
    """Publish a version of so many records without the target."""
    batch_id = f"b{seed:03}"
    world.put_row(batch_id)
    result = put_delta(world.services.store, batch_id, texts("k", count, seed))
    execution_id = f"20260102T1200{seed:02}Z-0000000{seed % 10}"
    merger = world.services.intermediate_merger(LINES)
    merged = tuple(merger.merge_chunk(chunk) for chunk in split_chunks(execution_id, [result], 10))
    parts = tuple(Intermediate(intermediate_key=part.intermediate_key) for part in merged)
    snapshots = IntermediateSnapshots(execution_id=execution_id, intermediates=parts, chunks=merged)
    world.services.final_merger(LINES, lambda line: None).merge([result], snapshots)


def kills(world: World, url: str, folder: Path, rounds: int) -> None:
    """Kill whoever writes, or the server, at random moments: afterwards everything is right, and written once."""
    chance = random.Random(rounds)
    server = ChromaServer(folder)
    server.start()
    name = server.new_database()
    with counting_proxy(server.port) as proxy:
        there = server.url(name).replace(str(server.port), str(proxy.port))
        environment = {**os.environ, "EMBEDDING_ASSETS_TARGETS": f"far={there}"}
        vars(world.services)["targets"] = parse_targets(environment["EMBEDDING_ASSETS_TARGETS"])
        strike(world, server, chance, rounds, environment)
        assert CHANGED * rounds <= proxy.added <= 1.05 * CHANGED * rounds


def strike(
    world: World, server: ChromaServer, chance: random.Random, rounds: int, environment: dict[str, str]
) -> None:
    """Publish a version, kill in the middle, and finish it, so many times."""
    try:
        for number in range(rounds):
            publish(world, CHANGED, number + 1)
            child = subprocess.Popen(RUN, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(1.0, 4.0))
            if number % 2:
                server.kill()
                child.wait()
                server.start()
            else:
                child.send_signal(signal.SIGKILL)
                child.wait()
            done = sync(world)
            assert done.version == world.published().version
            assert verify(world).ok
    finally:
        server.kill()


def test_kills_of_either_side(world: World, url: str, tmp_path: Path) -> None:
    """The next call finishes what was begun."""
    kills(world, url, tmp_path / "server", 2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_kills_of_either_side(world: World, url: str, tmp_path: Path) -> None:
    """At many moments."""
    kills(world, url, tmp_path / "server", 60)


def test_the_state_is_in_the_table(world: World) -> None:
    """`TARGET#{database}#{name}`, as the contract has it."""
    world.plant("first", texts("a", 1))
    world.ingest()
    item = world.rows()["TARGET#lines#far"]
    assert (item["version"], json.dumps(item["SK"])) == (world.published().version, '"TARGET"')
