"""Functions that reach outside and are in no scene for faults, and where their failures are tested instead."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import embedding_assets_tests
from embedding_assets_tests.faults.source_sites import functions_that_reach_outside

TESTS = Path(embedding_assets_tests.__file__).parent

ELSEWHERE = {
    # One conditional write each, or a poll as in an ingest.
    "assets.polling._poll_again": "assets/test_reprocess.py",
    "assets.polling.polling_assets.batches": "assets/test_databases.py",
    "cli.batches.reprocess": "cli/test_batches.py",
    "cli.batches.reset": "cli/test_batches.py",
    "snapshots.base_cache.BaseCache._keep": "merge/test_base_cache.py",
    "merge.poll_execution.ExecutionPoller._guarded": "merge/test_poll_execution.py",
    "merge.poll_execution.ExecutionPoller._counted": "merge/test_poll_execution.py",
    "merge.ending.ended_without_embeddings": "orchestration/test_storms.py",
    "merge.poll_execution._as_it_is": "merge/test_poll_execution.py",
    "merge.poll_execution._go_on": "merge/test_poll_execution.py",
    "merge.poll_execution.note_shown": "merge/test_poll_execution.py",
    "orchestration.suspects.choose": "orchestration/test_suspects.py",
    "upkeep.tagging.remove_tag": "upkeep/test_tags.py",
    # The jobs that submit: what they call is in the scene; a receipt that was not written comes to a second look.
    "jobs.submission.due_batches": "jobs/test_submission.py",
    "jobs.submission.resubmit_job.resubmit_batches": "jobs/test_submission.py",
    "submission.inbox.Inbox._submit": "jobs/test_submission.py",
    "submission.inbox.Inbox.waiting": "jobs/test_submission.py",
    # A rebuild publishes by the lock and the commit of every merge, and submits as a submission does.
    "rebuild.model.ModelRebuild._impossible": "rebuild/test_model.py",
    "rebuild.model.ModelRebuild._on_way": "rebuild/test_model.py",
    "rebuild.model.ModelRebuild._submit": "rebuild/test_model.py",
    "rebuild.model.ModelRebuild._rebuilding": "rebuild/test_model.py",
    "rebuild.publish.AnewPublisher.publish": "rebuild/test_distance.py",
    "rebuild.texts.StoredTexts._asked": "rebuild/test_model.py",
    "rebuild.texts.StoredTexts._kept": "rebuild/test_model.py",
    # They only read: an error is told, and nothing was changed.
    "cli.batches._all": "cli/test_batches.py",
    "cli.snapshots.list_versions": "cli/test_errors.py",
    "cli.status._rows": "cli/test_errors.py",
    "cli.status.status": "cli/test_errors.py",
    "merge.intermediate.IntermediateMerger._listing": "merge/test_intermediate.py",
    "openai_batches.client.OpenAIBatches.embed": "openai_batches/test_client.py",
    "openai_batches.client.OpenAIBatches.knows_model": "doctor",
    "openai_batches.client.OpenAIBatches.has_content": "openai_batches/test_survey.py",
    "openai_batches.earlier._is_whole": "openai_batches/test_poll.py",
    "openai_batches.earlier.earlier_errors": "outcomes",
    "openai_batches.earlier.earlier_with_delta": "openai_batches/test_poll.py",
    "orchestration.execution.with_provenance": "assets/test_execution.py",
    "reporting.facts._any": "cli/test_status.py",
    "reporting.facts._errors": "cli/test_status.py",
    "reporting.facts._follow": "cli/test_status.py",
    "reporting.facts._result": "cli/test_status.py",
    "reporting.facts.gather": "cli/test_status.py",
    "sensors.pending_batches.pending_batches_sensor.pending_batches": "sensors/test_pending_batches.py",
    "snapshots.directory.download_snapshot": "snapshots/test_directory.py",
    "snapshots.reader.pull": "schedules/test_readers.py",
    "snapshots.receipts.newest_receipt": "cli/test_repair.py",
}


def forgotten(callers: Collection[str]) -> Iterator[str]:
    """What the source tells and neither a scene's `callers` nor the list above has; and what is listed in vain."""
    uncovered = set(functions_that_reach_outside()) - set(callers)
    yield from sorted(uncovered - ELSEWHERE.keys())
    yield from sorted(f"{name}: listed, and covered or gone" for name in ELSEWHERE.keys() - uncovered)
    yield from sorted(f"{where} is not there" for where in ELSEWHERE.values() if not (TESTS / where).exists())
