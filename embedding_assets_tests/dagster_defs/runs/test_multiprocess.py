"""EMBEDDING_ASSETS_EXECUTOR=multiprocess: each step in a process of its own, forked from one that is preloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

import embedding_assets
from embedding_assets.dagster_defs.runs.planning import PRELOADED, run_config
from embedding_assets_tests.dagster_defs.runs.world import World, texts

ROOT = Path(embedding_assets.__file__).parent.parent
COMMAND = "import sys; from embedding_assets.cli.main import run; sys.argv[0] = 'embedding-assets'; run()"
SECONDS = 200


def test_an_ingest(world: World) -> None:
    """Polled, published and marked as in one process; Dagster knows both events of each batch, of the same run."""
    batch_ids = [f"b{number}" for number in range(3)]
    for number, batch_id in enumerate(batch_ids):
        world.plant(batch_id, texts(f"{batch_id}-", 2, seed=2 * number))
    environment = {
        **os.environ,
        **world.environment,
        "EMBEDDING_ASSETS_EXECUTOR": "multiprocess",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "ingest", "--database", "lines"],
        env=environment,
        cwd=world.home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert world.statuses() == dict.fromkeys(batch_ids, "COMPLETED")
    assert world.published().total_embeddings == 6
    (run,) = world.instance.get_runs()
    of_type = dg.DagsterEventType
    starts = world.instance.get_records_for_run(run.run_id, of_type=of_type.STEP_START).records
    pids = {record.event_log_entry.get_dagster_event().pid for record in starts}
    assert len(pids) == len(starts) == 8
    for asset in ("batches", "poll_results"):
        told = world.instance.get_records_for_run(run.run_id, of_type=of_type.ASSET_MATERIALIZATION).records
        assert {record.partition_key for record in told if record.asset_key == dg.AssetKey(["lines", asset])} == {
            *batch_ids
        }


def test_what_is_preloaded(world: World) -> None:
    """The module that steps are forked from can be imported if nothing answers, and without an AWS region."""
    settings = world.services.settings.model_copy(update={"executor": "multiprocess"})
    multiprocess = run_config(settings)["execution"]["config"]["multiprocess"]
    assert multiprocess["start_method"] == {"forkserver": {"preload_modules": [PRELOADED]}}
    environment = {
        **os.environ,
        **world.environment,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
    }
    environment = {name: value for name, value in environment.items() if name != "AWS_DEFAULT_REGION"}
    code = f"import {PRELOADED}, threading; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=world.home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
