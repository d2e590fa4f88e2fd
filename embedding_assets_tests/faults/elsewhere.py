"""Functions that reach outside and are in no scene for faults, and where their failures are tested instead."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import embedding_assets_tests
from embedding_assets_tests.faults.source_sites import functions_that_reach_outside

TESTS = Path(embedding_assets_tests.__file__).parent

ELSEWHERE = {
    # It uploads by the store's own function, which is in the scene of an import.
    "upkeep.import_snapshot.SnapshotImport.run": "faults/import_scene.py",
    "upkeep.import_source._folder": "upkeep/test_import.py",
    # One conditional write each, or a poll as in an ingest.
    "dagster_defs.assets.polling._poll_again": "dagster_defs/assets/test_reprocess.py",
    "dagster_defs.assets.polling.polling_assets.batches": "dagster_defs/assets/test_databases.py",
    "dagster_defs.upkeep_jobs._acknowledge.acknowledge": "dagster_defs/test_upkeep_jobs.py",
    "ledger.acknowledge.acknowledge_batches": "cli/test_batches.py",
    "dagster_defs.upkeep_jobs._reprocess.reprocess": "dagster_defs/test_upkeep_jobs.py",
    "dagster_defs.upkeep_jobs._reset.reset": "dagster_defs/test_upkeep_jobs.py",
    # Dagster forgets what is over; the next night finds what was left.
    "dagster_defs.runs.retirement._old_outputs": "dagster_defs/runs/test_retirement.py",
    "dagster_defs.runs.retirement._retire_batches": "dagster_defs/runs/test_retirement.py",
    "dagster_defs.runs.retirement._sweep_outputs": "dagster_defs/runs/test_retirement.py",
    "cli.batches.reprocess": "cli/test_batches.py",
    "cli.batches.reset": "cli/test_batches.py",
    "versions.base_cache.BaseCache._keep": "executions/test_base_cache.py",
    "executions.poll.ExecutionPoller._guarded": "executions/test_poll.py",
    "executions.poll.ExecutionPoller._counted": "executions/test_poll.py",
    "executions.ending.ended_without_embeddings": "dagster_defs/runs/test_storms.py",
    "executions.settle._as_it_is": "executions/test_poll.py",
    "executions.settle._go_on": "executions/test_poll.py",
    "executions.settle.note_shown": "executions/test_poll.py",
    "dagster_defs.runs.suspects.choose": "dagster_defs/runs/test_suspects.py",
    "upkeep.tagging.remove_tag": "upkeep/test_tags.py",
    # The jobs that submit: what they call is in the scene; a receipt that was not written comes to a second look.
    "dagster_defs.submission_jobs.due_batches": "dagster_defs/test_submission_jobs.py",
    "dagster_defs.submission_jobs.resubmit_job.resubmit_batches": "dagster_defs/test_submission_jobs.py",
    "submission.inbox.Inbox._submit": "dagster_defs/test_submission_jobs.py",
    "submission.inbox.Inbox.waiting": "dagster_defs/test_submission_jobs.py",
    # A rebuild publishes by the lock and the commit of every merge, and submits as a submission does.
    "upkeep.rebuild_model.ModelRebuild._impossible": "upkeep/rebuild/test_model.py",
    "upkeep.rebuild_model.ModelRebuild._on_way": "upkeep/rebuild/test_model.py",
    "upkeep.rebuild_model.ModelRebuild._submit": "upkeep/rebuild/test_model.py",
    "upkeep.rebuild_model.ModelRebuild._rebuilding": "upkeep/rebuild/test_model.py",
    "upkeep.rebuild_publish.Rebuild.publish_rebuilt": "upkeep/rebuild/test_distance.py",
    "upkeep.rebuild_texts.StoredTexts._asked": "upkeep/rebuild/test_model.py",
    "upkeep.rebuild_texts.StoredTexts._kept": "upkeep/rebuild/test_model.py",
    # They only read: an error is told, and nothing was changed.
    "dagster_defs.sensors.alerts.watched_rows": "dagster_defs/sensors/test_alerts.py",
    "dagster_defs.checks.asset_checks.backlog_checks.checks": "dagster_defs/checks/test_backlog_checks.py",
    "cli.batches.named_row": "cli/test_batches.py",
    "versions.changes_file.read_changes": "versions/test_changes_file.py",
    "versions.export.export": "versions/test_export.py",
    "cli.snapshots.list_versions": "cli/test_errors.py",
    "cli.status._rows": "cli/test_errors.py",
    "executions.intermediate.IntermediateMerger._listing": "executions/test_intermediate.py",
    "openai_batches.client.OpenAIBatches.embed": "openai_batches/test_client.py",
    "openai_batches.client.OpenAIBatches.knows_model": "operations/doctor",
    "openai_batches.client.OpenAIBatches.has_content": "openai_batches/test_survey.py",
    # Targets: killed on either side at random moments, every record compared afterwards.
    "chroma.server.open_server": "targets/test_targets.py",
    "chroma.server.reach": "targets/test_targets.py",
    "targets.applied.TargetRow._write": "targets/test_targets.py",
    "targets.applied.TargetRow.read": "targets/test_targets.py",
    "openai_batches.earlier._is_whole": "openai_batches/test_poll.py",
    "openai_batches.earlier.earlier_errors": "outcomes",
    "openai_batches.earlier.earlier_with_delta": "openai_batches/test_poll.py",
    "dagster_defs.runs.execution.with_provenance": "dagster_defs/assets/test_execution.py",
    "operations.facts._any": "cli/test_status.py",
    "operations.facts._errors": "cli/test_status.py",
    "operations.facts._follow": "cli/test_status.py",
    "operations.facts._result": "cli/test_status.py",
    "operations.facts.gather": "cli/test_status.py",
    "dagster_defs.sensors.pending_batches.pending_batches_sensor.pending_batches": (
        "dagster_defs/sensors/test_pending_batches.py"
    ),
    "rows.snapshot_directory.download_snapshot": "rows/test_snapshot_directory.py",
    "versions.reader.pull": "schedules/test_readers.py",
    "versions.receipts.newest_receipt": "cli/test_repair.py",
}


def forgotten(callers: Collection[str]) -> Iterator[str]:
    """What the source tells and neither a scene's `callers` nor the list above has; and what is listed in vain."""
    uncovered = set(functions_that_reach_outside()) - set(callers)
    yield from sorted(uncovered - ELSEWHERE.keys())
    yield from sorted(f"{name}: listed, and covered or gone" for name in ELSEWHERE.keys() - uncovered)
    yield from sorted(f"{where} is not there" for where in ELSEWHERE.values() if not (TESTS / where).exists())
