"""`snapshots`: what the commands print of versions, with and without `--json`, and how they exit."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.cli.output import STDOUT
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets_tests.cli.commands import SECRETS, Outcome, command, failed
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts

NOBODY = "99-0123456789ab"
SWEEP_ALL = {"EMBEDDING_ASSETS_GC_MIN_AGE_SECONDS": "0", "EMBEDDING_ASSETS_SNAPSHOT_RETENTION": "1"}


@dataclass(frozen=True)
class Story:
    """Three versions, and what the commands said of them, each at its time."""

    world: World
    first: str
    second: str
    third: str
    told: dict[str, Outcome]
    pointers: dict[str, VersionManifest]

    def json(self, name: str) -> Any:
        """The document of one command, which was done."""
        assert self.told[name].code == 0, self.told[name]
        return self.told[name].json

    def text(self, name: str) -> str:
        """What a person read of one command, which was done."""
        assert self.told[name].code == 0, self.told[name]
        return self.told[name].stdout


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Look, name, roll back, look, look again what goes, sweep, look."""
    home = tmp_path_factory.mktemp("versions")
    batches = {
        "one": texts("a", 2),
        "two": texts("b", 12, 10),
        "three": [*texts("a", 1, 77), *texts("c", 2, 30)],
    }
    with open_world(stack, aws, openai_clients[1], home, **SECRETS, **SWEEP_ALL) as world:
        made = []
        for number, (batch_id, records) in enumerate(batches.items(), start=1):
            world.plant(batch_id, records, row={"submitted_at": f"2026-01-0{number}T12:00:00Z"})
            assert world.ingest().failures == []
            made.append(world.published().version)
        told: dict[str, Outcome] = {}
        pointers = {"before": world.published()}

        def run(name: str, verb: str, *arguments: str) -> None:
            told[name] = command("snapshots", verb, "lines", *arguments)
            pointers[name] = world.published()

        run("list", "list")
        run("list json", "list", "--json")
        run("show", "show")
        run("show json", "show", made[0], "--json")
        run("show option", "show", "--version", made[0], "--json")
        run("diff", "diff")
        run("diff json", "diff", "--json")
        run("diff two", "diff", made[0], made[2], "--json")
        run("diff back", "diff", made[2], made[0], "--json")
        run("verify", "verify")
        run("verify json", "verify", made[1], "--json")
        run("tag", "tag", "good", "--version", made[0])
        run("tag again", "tag", "oldest", "--version", "good", "--json")
        run("rollback plan", "rollback", "--dry-run")
        run("rollback plan json", "rollback", "--dry-run", "--json")
        run("rollback", "rollback")
        run("rollback json", "rollback", "good", "--json")
        run("diff after", "diff", "--json")
        run("plan", "gc", "--dry-run")
        run("plan json", "gc", "--dry-run", "--json")
        run("gc json", "gc", "--json")
        run("gc", "gc")
        run("list after", "list")
        run("delete", "tag", "oldest", "--delete")
        run("delete json", "tag", "good", "--delete", "--json")
        yield Story(world, made[0], made[1], made[2], told, pointers)


def test_list_tells_each_version_in_a_line(story: Story) -> None:
    """Newest first: its name, when, how many, what is special."""
    lines = [line.split() for line in story.text("list").splitlines()[1:]]
    assert [line[0] for line in lines] == [story.third, story.second, story.first]
    assert [line[3:6] for line in lines] == [["16", "2", "1"], ["14", "12", "0"], ["2", "2", "0"]]
    assert [line[8:] for line in lines] == [["published"], [], []]


def test_list_after_a_rollback_and_a_gc(story: Story) -> None:
    """Tags, what was rolled back to, and what is there no more."""
    text = " ".join(story.text("list after").split())
    published = story.pointers["gc"].version
    assert re.search(rf"{published} .* published, rolled back to {story.first} ", text)
    assert re.search(rf"{story.third} [^,]* swept {story.second} [^,]* swept {story.first} ", text)
    assert text.endswith("tag good, tag oldest")


@pytest.mark.parametrize("width", [80, 120])
def test_no_name_is_cut_off(story: Story, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Whoever copies a version from the screen, or pipes it into a file, needs all of it."""
    monkeypatch.setattr(STDOUT, "_width", width)
    listed, shown = command("snapshots", "list", "lines"), command("snapshots", "show", "lines")
    assert "…" not in listed.stdout + shown.stdout
    assert all(len(line) <= width for line in listed.stdout.splitlines())
    assert all(version in listed.stdout for version in (story.first, story.second, story.third))
    assert story.pointers["gc"].content_digest in shown.stdout


def test_a_rollback_can_be_looked_at_first(story: Story) -> None:
    """What would be published and what would be out; nothing is published by that."""
    line = story.text("rollback plan")
    assert line.startswith(f"the 14 embeddings of {story.second} would be published again")
    assert line.endswith("withdrawn: three\n")
    assert story.json("rollback plan json") == {
        "dry_run": True,
        "published": story.third,
        "rolled_back_to": story.second,
        "withdrawn": ["three"],
    }
    assert story.pointers["rollback plan json"] == story.pointers["before"]


@pytest.mark.parametrize(("answer", "code"), [("n\n", 130), ("y\n", 1)])
def test_a_terminal_is_asked_before_a_rollback(
    story: Story, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """No ends it; yes goes on, here to a version that is gone."""
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    before = story.world.published()
    outcome = command("snapshots", "rollback", "lines", story.third)
    assert outcome.code == code
    assert "Go on? [y/N]" in outcome.stderr
    assert story.world.published() == before


def test_nothing_published_is_told(story: Story) -> None:
    """A database of which nothing was published yet: an empty list, and an error where one version is needed."""
    assert command("snapshots", "list", "words").stdout == "words has no published version yet\n"
    assert command("snapshots", "list", "words", "--json").json == []
    for arguments in (["show"], ["verify"], ["diff"], ["rollback"], ["gc"], ["tag", "x"], ["pull", "--to", "x"]):
        verb, *more = arguments
        assert "no published version" in failed("snapshots", verb, "words", *more)


def test_show_tells_all_that_a_manifest_says(story: Story) -> None:
    """Every file with its key, every batch with its status; nothing that is empty."""
    manifest, text = story.pointers["before"], story.text("show")
    assert all(f"  {file.key}\n" in text for file in manifest.files)
    assert re.search(r"^batches +three \(COMPLETED\)$", text, re.MULTILINE)
    assert re.search(rf"^content_digest +{manifest.content_digest}$", text, re.MULTILINE)
    assert "None" not in text
    assert "[]" not in text


def test_a_version_is_named_by_argument_or_option(story: Story) -> None:
    """Either way, but not two."""
    assert story.json("show json") == story.json("show option") == story.json("list json")[2]
    for verb, *more in (["show"], ["verify"], ["rollback"], ["pull", "--to", "nowhere"]):
        outcome = command("snapshots", verb, "lines", story.first, "--version", story.second, *more)
        assert (outcome.code, outcome.stdout) == (2, "")
        assert f"{story.first} and {story.second} are two versions" in outcome.stderr


def test_an_older_version_is_pulled(story: Story, tmp_path: Path) -> None:
    """By its name, whichever way it is given; what comes is that version, and its manifest."""
    for number, arguments in enumerate([(story.first,), ("--version", story.first)]):
        target = tmp_path / str(number)
        told = command("snapshots", "pull", "lines", *arguments, "--to", str(target), "--json").json
        assert (told["version"], told["directory"]) == (story.first, str(target))
        assert json.loads((target / MANIFEST).read_text()) == story.json("show json")


def test_diff_tells_what_came_went_and_changed(story: Story) -> None:
    """Against the version that was published before, or between two named ones, in both directions."""
    assert story.json("diff json") == {
        "from": story.second,
        "to": story.third,
        "added": ["c0", "c1"],
        "removed": [],
        "changed": ["a0"],
        "unchanged": 13,
    }
    two, back = story.json("diff two"), story.json("diff back")
    assert (two["from"], two["to"]) == (story.first, story.third) == (back["to"], back["from"])
    assert two["added"] == back["removed"] == sorted([*(f"b{number}" for number in range(12)), "c0", "c1"])
    assert (two["changed"], back["changed"], back["added"], back["unchanged"]) == (["a0"], ["a0"], [], 1)
    text = story.text("diff")
    assert f"{story.second} → {story.third}" in text
    assert "c0, c1" in text


def test_diff_after_a_rollback_tells_what_it_took_out(story: Story) -> None:
    """Not how the old content once came about."""
    told = story.json("diff after")
    assert told["from"] == story.pointers["rollback"].version
    assert (told["added"], told["changed"], len(told["removed"])) == ([], [], 12)


def test_verify_of_a_sound_version(story: Story) -> None:
    """One sentence, or the contract's document."""
    assert story.text("verify").startswith(f"version {story.third} of lines is sound")
    assert story.json("verify json") == {"version": story.second, "ok": True, "problems": []}


def test_tags_are_told(story: Story) -> None:
    """A tag of a tag names its version; a removed tag is reported as removed."""
    assert story.text("tag") == f"tag good is {story.first}\n"
    assert story.json("tag again") == {"tag": "oldest", "version": story.first}
    assert story.text("delete") == "tag oldest is removed\n"
    assert story.json("delete json") == {"tag": "good", "version": None}


def test_rollback_tells_what_is_published_and_what_is_out(story: Story) -> None:
    """By default the content before; with `--json` the new manifest, which is the pointer."""
    made = story.pointers["rollback"]
    assert (made.rolled_back_to, made.withdrawn) == (story.second, ("three",))
    assert f"published version {made.version}: the 14 embeddings of {story.second}" in story.text("rollback")
    assert "withdrawn: three" in story.text("rollback")
    document = story.json("rollback json")
    assert document == story.pointers["rollback json"].model_dump(mode="json")
    assert (document["rolled_back_to"], document["withdrawn"]) == (story.first, ["three", "two"])


def test_a_dry_run_tells_what_gc_then_does(story: Story) -> None:
    """The same document but for its first word; the pointer is as it was."""
    planned, swept = story.json("plan json"), story.json("gc json")
    assert (planned.pop("dry_run"), swept.pop("dry_run")) == (True, False)
    assert planned == swept
    assert [one["owner"] for one in swept["versions"]] == [story.second, story.third]
    assert swept["kept"] == [story.pointers["rollback json"].version, story.first]
    assert [len(swept[kind]) for kind in ("unpublished", "intermediates", "deltas")] == [0, 1, 1]
    assert swept["deltas"][0]["objects"] == 2
    assert story.pointers["plan json"] == story.pointers["rollback json"]
    assert "would be swept from lines" in story.text("plan")
    assert "would be" not in story.text("gc")
    assert f"kept: {swept['kept'][0]}, {story.first}" in story.text("gc")


def test_what_was_swept_is_no_target(story: Story, tmp_path: Path) -> None:
    """One line, and nothing happens."""
    before = story.world.published()
    assert "cannot be published again" in failed("snapshots", "rollback", "lines", story.third)
    assert "was swept" in failed("snapshots", "tag", "lines", "late", "--version", story.third)
    assert "not found" in failed(
        "snapshots", "pull", "lines", "--to", str(tmp_path / "x"), "--version", story.third
    )
    assert "not found" in failed("snapshots", "diff", "lines", story.third)
    assert list(tmp_path.iterdir()) == []
    assert story.world.published() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("show", "lines", NOBODY), f"no version '{NOBODY}'"),
        (("verify", "lines", NOBODY, "--json"), f"no version '{NOBODY}'"),
        (("diff", "lines", NOBODY), f"no version '{NOBODY}'"),
        (("rollback", "lines", NOBODY), f"never published a version '{NOBODY}'"),
        (("rollback", "lines", "nightly"), "never published a version 'nightly'"),
        (("tag", "lines", "x", "--version", NOBODY), f"no version '{NOBODY}'"),
        (("tag", "lines", "a/b"), "cannot be a tag"),
        (("tag", "lines", NOBODY), "cannot be a tag"),
        (("tag", "lines", "nightly", "--delete"), "no tag 'nightly'"),
        (("gc", "nothing"), "no database is called"),
    ],
)
def test_what_is_not_there(story: Story, arguments: tuple[str, ...], reason: str) -> None:
    """One clear line on stderr, nothing on stdout, exit code 1."""
    assert reason in failed("snapshots", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("diff", "lines", "a", "b", "c"),
        ("tag", "lines"),
        ("tag", "lines", "x", "--delete", "--version", "y"),
        ("gc",),
        ("gc", "lines", "--force"),
        ("rollback", "lines", "a", "b"),
    ],
)
def test_wrong_usage(story: Story, arguments: tuple[str, ...]) -> None:
    """Exit code 2, one line."""
    outcome = command("snapshots", *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert len(outcome.stderr.splitlines()) == 1


Key = Callable[[VersionManifest], str]


def own_manifest(manifest: VersionManifest) -> str:
    return f"lines/snapshot/versions/{manifest.version}/{MANIFEST}"


@pytest.mark.parametrize(
    ("key_of", "data", "said"),
    [
        (lambda manifest: manifest.files[0].key, b"damage", "bytes, the manifest says"),
        (lambda manifest: manifest.files[-1].key, None, "is missing"),
        (own_manifest, None, "is missing"),
    ],
    ids=["file", "missing file", "own manifest"],
)
def test_verify_of_a_damaged_version(story: Story, key_of: Key, data: bytes | None, said: str) -> None:
    """Exit code 1: the document still on stdout, one line on stderr; a person reads each problem by its file."""
    manifest = story.world.published()
    key = key_of(manifest)
    with damaged(story.world.services.store, key, data):
        document, read = command("snapshots", "verify", "lines", "--json"), command("snapshots", "verify", "lines")
    assert (document.code, read.code) == (1, 1)
    (problem,) = document.json["problems"]
    assert document.json == {"version": manifest.version, "ok": False, "problems": [problem]}
    assert said in problem
    assert f"/{key}" in problem
    assert read.stdout == f"{problem}\n"
    for outcome in (document, read):
        assert outcome.stderr == f"error: version {manifest.version} of lines is damaged: 1 problem\n"


def test_verify_through_a_broken_chain(story: Story) -> None:
    """An older version cannot be told to be published: that is damage too, and the document is there."""
    key = own_manifest(story.world.published().model_copy(update={"version": story.second}))
    with damaged(story.world.services.store, key, None):
        outcome = command("snapshots", "verify", "lines", story.first, "--json")
    assert outcome.code == 1
    (problem,) = outcome.json["problems"]
    assert outcome.json == {"version": story.first, "ok": False, "problems": [problem]}
    assert f"/{key} is missing" in problem


def test_verify_of_a_damaged_pointer(story: Story) -> None:
    """Nobody can say which version it is: the document says so, and where the damage is."""
    store, key = story.world.services.store, f"lines/snapshot/latest/{MANIFEST}"
    with damaged(store, key, b"{}"):
        outcome = command("snapshots", "verify", "lines", "--json")
    assert outcome.code == 1
    problem = f"{MANIFEST}: {store.uri(key)} is not a version's manifest"
    (found,) = outcome.json["problems"]
    assert outcome.json == {"version": None, "ok": False, "problems": [found]}
    assert found.startswith(problem)
    assert "snapshots repair lines" in found
    assert outcome.stderr == "error: the published version of lines is damaged: 1 problem\n"


@contextmanager
def damaged(store: Store, key: str, data: bytes | None) -> Iterator[None]:
    """Other bytes, or none, under a key for a while."""
    kept = store.get(key)
    store.delete([key])
    if data is not None:
        store.put(key, data)
    try:
        yield
    finally:
        store.put(key, kept)
