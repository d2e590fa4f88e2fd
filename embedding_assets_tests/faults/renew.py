"""`make call-sites`: look which call sites runs come by, and write the list again."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.faults.listed import FILE, Listed, load, save
from embedding_assets_tests.faults.matrix import find_later, record
from embedding_assets_tests.faults.scenes import SCENES, known_after_a_fault, known_to, opened


def main() -> None:
    """Every scene: an undisturbed run, then two faults at each of its call sites. Takes some minutes."""
    before = load() if FILE.exists() else {}
    listed: dict[str, Listed] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStack(embedder="hash") as stack,
        httpx.Client(base_url=stack.openai_url) as control,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in stack.environment.items():
            patch.setenv(name, value)
        aws = AwsClients(s3_client(), s3_client(retries=False), dynamodb_client())
        for name in SCENES:
            known = known_to(name, listed)
            with opened(name, stack, aws, control, Path(folder) / name, memory=True) as scene:
                found = record(scene)
                sites = {site: count for site, count in sorted(found.items()) if site not in known}
                later = before[name].later if name in before else {}
                left = known_after_a_fault(name, listed)
                listed[name] = Listed(sites, find_later(scene, Listed(sites, later), left))
            _say(f"{name}: {len(listed[name].sites)} call sites, {len(listed[name].later)} more after a fault")
    save(listed)
    _say(f"{os.path.relpath(FILE)} is renewed: look at what changed in it")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
