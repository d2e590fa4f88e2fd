"""50,000 requests of 1536 dimensions, about 1 GB of output: polled in bounded memory, nothing lost."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.settings import Settings
from embedding_assets_tests.outcomes.full_batch import BATCH, REQUESTS, serve, write_full_batch

MOST_MEGABYTES = 500
GIGABYTE = 10**9

logger = logging.getLogger(__name__)


@pytest.mark.long
def test_a_full_batch_is_polled_in_bounded_memory(tmp_path: Path, settings: Settings, store: Store) -> None:
    """In a process that has loaded what a run's process loads; every request is embedded or on record."""
    wanted = write_full_batch(tmp_path)
    assert (tmp_path / "output").stat().st_size > GIGABYTE * 0.8
    store.upload_file(tmp_path / "records", records_key("full"))
    with serve(tmp_path) as base_url:
        ended = subprocess.run(
            [sys.executable, "-m", "embedding_assets_tests.outcomes.poll_measured", BATCH],
            env={**os.environ, "OPENAI_BASE_URL": base_url, "DAGSTER_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    logger.warning("a full batch: %s", found)
    assert {name: found[name] for name in wanted} == wanted
    assert (found["embedded"] + found["failed"], found["unfinished"]) == (REQUESTS, 0)
    assert len(store.get(errors_key("full")).splitlines()) == wanted["failed"]
    assert found["peak_megabytes"] < MOST_MEGABYTES
