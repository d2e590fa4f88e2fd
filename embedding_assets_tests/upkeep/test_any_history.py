"""Whatever merges, rollbacks, tags and sweeps come one after the other, some of which die or were only paused.

The planning of gc is the product's; the bucket is a dictionary. A gc that is cut off may still delete what it
had planned, at any later time: the lock does not stop a process that was paused behind its last check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_assets.databases import LINES
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.garbage import kept_versions, not_whole_without, old_versions, unpublished
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets_tests.chains import GRAPH, INDEX, hours, key, rolled_back, stored, version
from embedding_assets_tests.deltas import NOON


@dataclass
class Bucket:
    """The chain, newest first, and the objects with the time at which they were written."""

    now: datetime = NOON
    epoch: int = 0
    chain: list[VersionManifest] = field(default_factory=list)
    objects: dict[str, datetime] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def merge(self, *, unchanged: bool = False, publishes: bool = True) -> None:
        """A version of its own files; `unchanged` names the graph of the one before."""
        self.epoch += 1
        base = self.chain[0] if self.chain else None
        graphs = [file.key for file in base.files if file.path == GRAPH] if base and unchanged else []
        keys = [key(self.epoch, INDEX), *(graphs or [key(self.epoch, GRAPH)])]
        written = [one for one in keys if one not in self.objects]
        self.objects |= dict.fromkeys([*written, key(self.epoch, MANIFEST)], self.now)
        if publishes:
            made = version(self.epoch, base, keys, self.now, sweeping=base.sweeping if base else ())
            self.chain.insert(0, made)

    def rollback(self, back: int) -> None:
        """To one of the chain, where the product would not refuse it."""
        target, current = self.chain[back % len(self.chain)], self.chain[0]
        if target is not current and self.fit(target):
            self.epoch += 1
            self.objects[key(self.epoch, MANIFEST)] = self.now
            made = rolled_back(self.epoch, current, target, sweeping=current.sweeping)
            stamped = made.model_copy(update={"created_at": self.now.isoformat()})
            self.chain.insert(0, stamped)

    def tag(self, back: int) -> None:
        """One of the chain, where the product would not refuse it."""
        target = self.chain[back % len(self.chain)]
        if self.fit(target):
            self.tags.add(target.version)

    def fit(self, target: VersionManifest) -> bool:
        """Whether a version can be published again, or be given a name."""
        return target.version not in self.chain[0].sweeping and self.whole(target)

    def whole(self, manifest: VersionManifest) -> bool:
        """Whether every file is there."""
        return all(file.key in self.objects for file in manifest.files)

    def wait(self, duration: float) -> None:
        """Time goes by."""
        self.now += hours(duration)

    def gc(self, retention: int, min_age: timedelta, deletions: int) -> None:
        """Tell, delete and tell again; or only the first `deletions` of them, the others perhaps later."""
        self.epoch += 1
        listed = [stored(one, modified) for one, modified in self.objects.items()]
        begun = self.chain[0].sweeping
        kept = kept_versions(self.chain, self.tags, retention, min_age, self.now)
        versions = old_versions(self.chain, kept, listed, LINES, min_age, self.now)
        strays = unpublished(self.chain, listed, LINES, self.epoch, min_age, self.now)
        going = [(swept.owner, entry) for swept in [*versions, *strays] for entry in swept.objects]
        keys = [entry.key for _, entry in going]
        assert not {file.key for one in self.chain if one.version in kept for file in one.files} & set(keys)
        assert not any(one.endswith(f"/{MANIFEST}") for one in keys)
        assert all(self.now - entry.last_modified >= min_age for owner, entry in going if owner not in begun)
        self.amend({*begun, *not_whole_without(self.chain, versions)})
        for one in keys[:deletions]:
            del self.objects[one]
        self.paused |= set(keys[deletions:])
        if deletions >= len(keys):
            self.amend(set())

    def amend(self, sweeping: set[str]) -> None:
        """What the pointer says is being swept."""
        self.chain[0] = self.chain[0].model_copy(update={"sweeping": tuple(sorted(sweeping))})

    def wake(self) -> None:
        """Whoever was paused goes on, and deletes what it had planned."""
        for one in self.paused:
            self.objects.pop(one, None)
        self.paused.clear()

    def check(self) -> None:
        """What is published, and whatever has a name, is whole; so is every manifest."""
        assert self.whole(self.chain[0]), "the published version lost a file"
        assert all(self.whole(one) for one in self.chain if one.version in self.tags), "a tag lost a file"
        assert all(key(one.epoch, MANIFEST) in self.objects for one in self.chain)


Step = Callable[[Bucket], None]


def _steps() -> st.SearchStrategy[Step]:
    places = st.integers(0, 5)
    sweeps = st.tuples(st.integers(1, 3), st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([0, 0, 1, 99]))
    return st.one_of(
        st.booleans().map(lambda same: lambda bucket: bucket.merge(unchanged=same)),
        st.just(lambda bucket: bucket.merge(publishes=False)),
        places.map(to),
        places.map(lambda back: lambda bucket: bucket.tag(back)),
        st.sampled_from([0.5, 2.0]).map(lambda duration: lambda bucket: bucket.wait(duration)),
        sweeps.map(lambda told: lambda bucket: bucket.gc(told[0], hours(told[1]), told[2])),
        st.just(Bucket.wake),
    )


def go(*steps: Step) -> Bucket:
    """A first version, then the steps, then all who are paused go on; checked in each moment."""
    bucket = Bucket()
    for step in [merge, *steps, Bucket.wake]:
        step(bucket)
        bucket.check()
    return bucket


def merge(bucket: Bucket) -> None:
    """A version of its own files."""
    bucket.merge()


def to(back: int) -> Step:
    """A rollback by so many versions."""
    return lambda bucket: bucket.rollback(back)


def paused_gc(min_age: float = 0.0) -> Step:
    """A gc that has told what goes, and has deleted nothing yet."""
    return lambda bucket: bucket.gc(1, hours(min_age), 0)


def gc(min_age: float = 0.0) -> Step:
    """A gc from beginning to end."""
    return lambda bucket: bucket.gc(1, hours(min_age), 99)


def test_nobody_rolls_back_to_a_rollback_whose_files_go() -> None:
    """It has no files of its own: those that it names lie under a version that is swept."""
    go(merge, to(1), merge, paused_gc(), to(1))


def test_a_gc_with_another_age_finishes_what_was_begun() -> None:
    """Told to be over, it could be rolled back to, while whoever was paused still means to delete it."""
    go(merge, paused_gc(), gc(min_age=5), to(1))


def test_what_is_being_swept_is_not_kept_by_a_greater_retention() -> None:
    """Otherwise the pointer would no longer say what the paused one deletes."""
    go(merge, paused_gc(), lambda bucket: bucket.gc(9, hours(0), 99), to(1))


@given(st.lists(_steps(), min_size=1, max_size=24))
@settings(max_examples=300)
def test_what_is_published_stays_whole(steps: list[Step]) -> None:
    """In each moment, and when all that were paused have gone on."""
    go(*steps)
