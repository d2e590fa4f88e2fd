"""The call sites that runs were seen to come by, as a file: so that each of them is a test of its own."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.process import Fault, Planned

FILE = Path(__file__).with_name("call_sites.json")

RENEW = "If the change is meant, `make call-sites` renews embedding_assets_tests/faults/call_sites.json."


@dataclass(frozen=True)
class Listed:
    """The call sites of one scene.

    `sites` has those of an undisturbed run, each with how often the run comes by it (2 stands for more, too);
    `later` those that only appear once something went wrong, each with a fault that makes it appear.
    """

    sites: Mapping[CallSite, int] = field(default_factory=dict)
    later: Mapping[CallSite, Planned] = field(default_factory=dict)

    @property
    def all(self) -> frozenset[CallSite]:
        """Both kinds."""
        return frozenset(self.sites) | frozenset(self.later)


def load() -> dict[str, Listed]:
    """By the scene's name."""
    scenes = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: Listed(
            {_site(site): count for site, count in scene["sites"].items()},
            {
                _site(site): Planned(_site(first["site"]), Fault(first["fault"]), first["occurrence"])
                for site, first in scene["later"].items()
            },
        )
        for name, scene in scenes.items()
    }


def save(scenes: Mapping[str, Listed]) -> None:
    """Write the file again."""
    written = {name: {"sites": _sites(scene), "later": _later(scene)} for name, scene in scenes.items()}
    FILE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def difference(seen: Collection[CallSite], listed: Collection[CallSite]) -> str:
    """What is only in one of the two, in words; empty if they are equal."""
    lines = [f"not listed: {site}" for site in sorted(set(seen) - set(listed))]
    lines += [f"listed, but not seen: {site}" for site in sorted(set(listed) - set(seen))]
    return "\n".join([*lines, RENEW]) if lines else ""


def _site(text: str) -> CallSite:
    return CallSite(*text.split(" ", 2))


def _sites(scene: Listed) -> dict[str, int]:
    return {str(site): min(count, 2) for site, count in sorted(scene.sites.items())}


def _later(scene: Listed) -> dict[str, dict[str, Any]]:
    return {
        str(site): {"site": str(first.site), "fault": str(first.fault), "occurrence": first.occurrence}
        for site, first in sorted(scene.later.items())
    }
