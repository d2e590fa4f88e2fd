"""A process that dies at any step of laying leaves a reader what it had, and the next one ends well."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from embedding_assets.versions import latest_link, shared_root
from embedding_assets.versions.gather import gather
from embedding_assets_tests.shared_root.conftest import Shelf, wrong_in

TWO_DAYS = 2 * 86400
STEPS = {
    os: ("mkdir", "open", "fsync", "close", "rename", "listdir", "readlink", "symlink", "replace", "unlink"),
    shutil: ("rmtree", "disk_usage"),
}


class Killed(BaseException):
    """The process is no more: nothing that comes after it in the code is run."""


class Mortal:
    """Counts the steps that a process takes, and ends it before or after one of them."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.steps: list[str] = []
        self._at = at
        self._after = after
        self._dead = False

    def step(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """The call `real`, as a step."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self._dead:
                raise Killed
            self.steps.append(name)
            last = self._at == len(self.steps) - 1
            if last and not self._after:
                self._die()
            try:
                return real(*arguments, **options)
            finally:
                if last:
                    self._die()

        return call

    def _die(self) -> None:
        self._dead = True
        raise Killed

    def tap(self, patch: pytest.MonkeyPatch) -> None:
        """From now on the steps of laying are this process's."""
        for module in (shared_root, latest_link):
            for real, names in STEPS.items():
                if hasattr(module, real.__name__):
                    kept = {name: value for name, value in vars(real).items() if not name.startswith("__")}
                    steps = {name: self.step(name, getattr(real, name)) for name in names if hasattr(real, name)}
                    patch.setattr(module, real.__name__, SimpleNamespace(**{**kept, **steps}))
        patch.setattr(shared_root, "gather", self.step("gather", gather))


def publish_second(shelf: Shelf, mortal: Mortal, *, empty: bool) -> Any:
    """One version is laid and shown, unless the root is `empty`; the second is published by the process."""
    first = shelf.version(1)
    if not empty:
        shelf.publish(first)
    second = shelf.version(2, inherited=first)
    with pytest.MonkeyPatch.context() as patch:
        mortal.tap(patch)
        try:
            shelf.publish(second)
        except Killed:
            shelf.messages.append("killed")
    return first, second


@pytest.mark.parametrize("empty", [False, True], ids=["one laid", "empty root"])
def test_a_process_that_dies_at_any_step(shelf: Shelf, empty: bool) -> None:
    """Before and after each call: the link shows a whole version; a repair and a sweep make it all good."""
    undisturbed = Mortal()
    publish_second(shelf, undisturbed, empty=empty)
    assert {"mkdir", "gather", "fsync", "rename", "symlink", "replace"} <= set(undisturbed.steps)
    shutil.rmtree(shelf.folder.parent)
    left_over = 0
    for at in range(len(undisturbed.steps)):
        for after in (False, True):
            where = f"{'after' if after else 'before'} step {at}, {undisturbed.steps[at]}"
            first, second = publish_second(shelf, Mortal(at, after=after), empty=empty)
            assert shelf.messages.pop() == "killed", where
            shown = shelf.shared.link.shown()
            assert shown in (None if empty else first.version, second.version), where
            for laid in shelf.shared.laid():
                assert wrong_in(shelf.shared.directory(laid)) == [], where
            shelf.messages.clear()
            shelf.shared.ensure(second, shelf.messages.append)
            assert not [line for line in shelf.messages if "warning" in line], where
            assert shelf.shown == f"versions/{second.version}", where
            should_be = shelf.laid_out([second.version] if empty else [first.version, second.version])
            assert should_be <= shelf.paths(), where
            left_over += shelf.paths() != should_be
            for path in shelf.folder.rglob("*"):
                os.utime(path, (time.time() - TWO_DAYS,) * 2, follow_symlinks=False)
            shelf.shared.sweep_leftovers()
            assert shelf.paths() == should_be, where
            assert not [path for path in shelf.folder.rglob(".*") if path.name != ".lock"], where
            shutil.rmtree(shelf.folder.parent)
    assert left_over > 0


def test_what_is_younger_than_a_day_may_be_a_laying_under_way(shelf: Shelf) -> None:
    """Another process may be at it: its files and its link stay, and are swept when they are old."""
    shelf.publish(shelf.version(1))
    laying = shelf.shared.versions / ".2-0123456789ab-0123"
    laying.mkdir()
    link = shelf.folder / ".latest-0123"
    link.symlink_to("versions/2-0123456789ab")
    shelf.publish(shelf.version(2))
    assert laying.is_dir()
    assert link.is_symlink()
    for path in (laying, link):
        os.utime(path, (time.time() - TWO_DAYS,) * 2, follow_symlinks=False)
    shelf.publish(shelf.version(3))
    assert not laying.exists()
    assert not link.is_symlink()
