"""Events that are stored together are those that Dagster would have stored one by one."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs import event_batches
from embedding_assets.dagster_defs.runs.event_batches import log_together, report_together

KEYS = [dg.AssetKey(["lines", "batches"]), dg.AssetKey(["lines", "poll_results"])]


def some_events() -> list[dg.AssetMaterialization]:
    """Of two assets in turn, each with a partition, metadata and a tag."""
    return [
        dg.AssetMaterialization(
            asset_key=KEYS[number % 2],
            partition=f"b{number // 2}",
            metadata={"number": dg.MetadataValue.int(number)},
            tags={"parity": str(number % 2)},
        )
        for number in range(6)
    ]


@dg.op
def one_by_one(context: dg.OpExecutionContext) -> None:
    """As Dagster does it."""
    for event in some_events():
        context.log_event(event)


@dg.op
def together(context: dg.OpExecutionContext) -> None:
    """As we do it."""
    log_together(context, some_events())


def in_a_run(instance: dg.DagsterInstance, op: dg.OpDefinition) -> dict[str, Any]:
    """What Dagster tells after a run of this op alone."""
    job = dg.GraphDefinition(name="job", node_defs=[op]).to_job()
    return told(instance, job.execute_in_process(instance=instance).run_id)


def told(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """All that Dagster tells of the events, without what differs from run to run."""
    of_run = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    latest = instance.get_latest_materialization_events(KEYS)
    records = {record.asset_entry.asset_key: record.asset_entry for record in instance.get_asset_records(KEYS)}
    return {
        "run": [plain(record.event_log_entry) for record in of_run],
        "all": [
            [plain(record.event_log_entry) for record in instance.fetch_materializations(key, 100).records]
            for key in KEYS
        ],
        "ordered": all(
            records[key].last_materialization_storage_id
            == instance.fetch_materializations(key, 1).records[0].storage_id
            for key in KEYS
        ),
        "latest": {key: plain(event) for key, event in latest.items() if event is not None},
        "partitions": [instance.get_materialized_partitions(key) for key in KEYS],
    }


def plain(entry: dg.EventLogEntry) -> tuple[Any, ...]:
    """The entry without its run, time and process."""
    event = entry.get_dagster_event()
    return (
        entry.level,
        entry.step_key,
        entry.job_name,
        event.event_type,
        event.step_handle,
        event.step_kind_value,
        event.event_specific_data,
        {name: value for name, value in (event.logging_tags or {}).items() if name != "run_id"},
    )


@pytest.fixture
def instances(tmp_path: Path) -> list[dg.DagsterInstance]:
    """Two instances on disk, with nothing in them."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return [dg.DagsterInstance.local_temp(str(tmp_path / name)) for name in ("one", "two")]


def test_runless_events(instances: list[dg.DagsterInstance]) -> None:
    """The same events, the same latest of each asset, the same partitions; nothing told changes nothing."""
    for event in some_events():
        instances[0].report_runless_asset_event(event)
    report_together(instances[1], [])
    report_together(instances[1], some_events())
    wanted, found = (told(instance, "") for instance in instances)
    assert found == wanted
    assert len(found["run"]) == 6
    assert found["partitions"] == [{"b0", "b1", "b2"}] * 2
    assert found["ordered"]


def test_events_of_a_step(instances: list[dg.DagsterInstance]) -> None:
    """They belong to the run and to its step, in their order."""
    wanted, found = in_a_run(instances[0], one_by_one), in_a_run(instances[1], together)
    assert len(found["run"]) == 6
    assert {entry[1] for entry in found["run"]} == {"together"}
    assert replaced(found) == replaced(wanted)


def replaced(found: Any) -> str:
    """Without the op's name."""
    return repr(found).replace("one_by_one", "op").replace("together", "op")


def test_another_storage_is_told_one_by_one() -> None:
    """Storages that keep events elsewhere know best how to: here one in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        report_together(instance, some_events())
        assert [instance.get_materialized_partitions(key) for key in KEYS] == [{"b0", "b1", "b2"}] * 2


def test_another_dagster_gets_them_one_by_one(
    instances: list[dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that moved its private parts still gets every event, by its public functions alone."""
    wanted = in_a_run(instances[0], one_by_one)
    monkeypatch.setattr(event_batches, "sql_events", None)
    assert replaced(in_a_run(instances[1], together)) == replaced(wanted)
    report_together(instances[1], some_events())
    assert [instances[1].get_materialized_partitions(key) for key in KEYS] == [{"b0", "b1", "b2"}] * 2
