"""Every guard of the publication, with the story that goes wrong without it."""

from __future__ import annotations

from collections.abc import Callable

from embedding_assets_tests.schedules import scenarios as story
from embedding_assets_tests.schedules.lost_pointer_guards import LOST_POINTER_GUARDS
from embedding_assets_tests.schedules.without import Guard
from embedding_assets_tests.schedules.yard import Yard

Story = Callable[[Yard], None]

GUARDS: list[tuple[Guard, Story]] = [
    *LOST_POINTER_GUARDS,
    (
        Guard(
            "lock: taken only as it was read",
            "ledger.lease_row",
            'return "record_version = :seen"',
            'return "attribute_not_exists(nothing)"',
        ),
        story.two_take_a_free_lock,
    ),
    (
        Guard(
            "lock: created only if none is",
            "ledger.lease_row",
            'return "attribute_not_exists(PK)"',
            'return "attribute_not_exists(nothing)"',
        ),
        story.two_take_the_very_first_lock,
    ),
    (
        Guard(
            "lock: renewed only by its owner, as it left it",
            "ledger.lease",
            'ConditionExpression="#owner = :owner AND record_version = :seen"',
            'ConditionExpression="attribute_not_exists(nothing)"',
        ),
        story.a_former_holder_renews,
    ),
    (
        Guard(
            "lock: released only by its owner",
            "ledger.lease",
            'ConditionExpression="#owner = :owner AND record_version = :seen"',
            'ConditionExpression="attribute_not_exists(nothing)"',
        ),
        story.a_former_holder_releases,
    ),
    (
        Guard(
            "lock: a changed record version begins the lease again",
            "ledger.lease",
            "if last is None or seen is None or seen.stamp != last.stamp:",
            "if last is None or seen is None:",
        ),
        story.a_living_holder_is_waited_for,
    ),
    (
        Guard(
            "lock: taken over after a whole lease",
            "ledger.lease",
            "now - unchanged_since > seen.lease_seconds",
            "now - unchanged_since >= 0",
        ),
        story.a_whole_lease_must_pass,
    ),
    (
        Guard(
            "lock: an epoch above the pointer's",
            "ledger.lease",
            "max(seen.epoch if seen else 0, self._floor())",
            "(seen.epoch if seen else 0)",
        ),
        story.the_table_was_restored,
    ),
    (
        Guard("lock: a lost one is noticed", "ledger.lease", 'self._lost = "another took it over"', "pass"),
        story.a_lost_lock_is_noticed,
    ),
    (
        Guard(
            "pointer: fenced by whoever takes over",
            "versions.publisher",
            "if lock.taken_over and pointer is not None:",
            "if False:",
        ),
        story.a_paused_holder_wakes_up_after_another_died,
    ),
    (
        Guard("pointer: replaced only as it was read", "bucket.store", "                    IfMatch=etag,\n", ""),
        story.another_publishes_while_one_is_about_to,
    ),
    (
        Guard("pointer: created only if none is", "bucket.store", '                IfNoneMatch="*",\n', ""),
        story.two_publish_the_first_version,
    ),
    (
        Guard(
            "commit: a lost answer is read back",
            "versions.publish",
            "if ancestor.commit_id == manifest.commit_id:",
            "if False:",
        ),
        story.the_answer_of_a_commit_is_lost,
    ),
    (
        Guard(
            "commit: looked for through the parent chain",
            "versions.publish",
            "for ancestor in chain(store, database, current.manifest):",
            "for ancestor in [current.manifest]:",
        ),
        story.the_answer_is_lost_and_another_has_built_on_it,
    ),
    (
        Guard(
            "commit: never over a greater epoch",
            "versions.publish",
            "    if current.epoch > epoch:\n",
            "    if False:\n",
        ),
        story.a_smaller_epoch_commits,
    ),
    (
        Guard(
            "fence: never over a greater epoch",
            "versions.publish",
            "    if current.epoch > epoch:\n",
            "    if False:\n",
        ),
        story.a_smaller_epoch_fences,
    ),
    (
        Guard(
            "manifest: created only if none is",
            "versions.publish",
            "            store.create(key, data)\n",
            "            store.put(key, data)\n",
        ),
        story.a_versions_name_is_taken,
    ),
    (
        Guard(
            "reader: sha256 of every file",
            "rows.snapshot_directory",
            " and file_sha256(path) == entry.sha256",
            "",
        ),
        story.a_byte_of_a_version_flipped,
    ),
    (
        Guard(
            "merge: a delta has as many rows as were polled",
            "executions.intermediate",
            "if source.file.count != result.embedding_count:",
            "if False:",
        ),
        story.a_delta_is_longer_than_told,
    ),
    (
        Guard(
            "merge: what was polled came into chunks",
            "executions.accounting",
            "if polled != chunked:",
            "if False:",
        ),
        story.a_chunk_gets_lost,
    ),
    (
        Guard(
            "merge: what was built is verified",
            "executions.write_index",
            "        verify(directory, self.database",
            "        (lambda *given: None)(directory, self.database",
        ),
        story.the_writer_loses_a_record,
    ),
    (
        Guard(
            "merge: a later submission stays",
            "executions.changes",
            "wins = ~known | _wins(chosen, there, stale)",
            "wins = np.ones(len(ordinals), dtype=np.bool_)",
        ),
        story.an_earlier_submission_comes_later,
    ),
    (
        Guard(
            "merge: intermediates are those that were counted",
            "executions.intermediate",
            "if part.digest is not None and manifest_digest(manifest) != part.digest:",
            "if False:",
        ),
        story.intermediates_were_written_over,
    ),
    (
        Guard(
            "merge: what a rollback took out stays out",
            "executions.accounting",
            "if result.generation <= generations.get(result.batch_id, -1):",
            "if False:",
        ),
        story.a_withdrawn_batch_is_on_its_way,
    ),
    (
        Guard(
            "merge: only what fits what is published",
            "executions.final",
            "if None not in (published.dimensions, dimensions) and published.dimensions != dimensions:",
            "if False:",
        ),
        story.another_dimension,
    ),
    (
        Guard(
            "mark: only a live row",
            "ledger.ledger",
            """condition=f"#status IN ({', '.join(live)}) AND " + _generation_is(generation),""",
            "condition=_generation_is(generation),",
        ),
        story.a_batch_is_finished_by_hand_while_it_is_marked,
    ),
    (
        Guard(
            "mark: only the generation that was published",
            "ledger.ledger",
            """condition=f"#status IN ({', '.join(live)}) AND " + _generation_is(generation),""",
            """condition=f"#status IN ({', '.join(live)})",""",
        ),
        story.a_batch_is_opened_again_while_it_is_marked,
    ),
    (
        Guard(
            "gc: told in the pointer before anything is deleted",
            "upkeep.gc",
            "            pointer = amend(self.store, self.database, pointer, lock.epoch, sweeping)\n        for",
            "            pass\n        for",
        ),
        story.a_rollback_overtakes_a_gc,
    ),
    (
        Guard(
            "rollback: refuses what is being swept",
            "upkeep.rollback",
            "if target.version in current.sweeping:",
            "if False:",
        ),
        story.a_rollback_overtakes_a_gc,
    ),
    (
        Guard(
            "rollback: only a version that is whole",
            "upkeep.rollback",
            "        if wrong:\n",
            "        if False:\n",
        ),
        story.a_swept_version_is_asked_for,
    ),
    (
        Guard("gc: files that a kept version names", "upkeep.garbage", "one.key not in named and ", ""),
        story.a_version_names_an_older_ones_files,
    ),
    (
        Guard("gc: nothing of a later epoch", "upkeep.garbage", "        and written_by < epoch\n", ""),
        story.a_later_epoch_is_writing,
    ),
    (
        Guard(
            "gc: no young upload",
            "upkeep.garbage",
            "        and all(now - one.last_modified >= age for one in objects)\n",
            "",
        ),
        story.an_upload_is_young,
    ),
    (
        Guard("gc: no manifest of a version", "upkeep.garbage", "if slash and path != MANIFEST:", "if slash:"),
        story.a_version_manifest_is_asked_for_again,
    ),
    (
        Guard(
            "gc: no version that was current a moment ago",
            "upkeep.garbage",
            "if now - parse_instant(newer.created_at) < min_age:",
            "if False:",
        ),
        story.a_version_was_current_a_moment_ago,
    ),
    (
        Guard(
            "gc: no delta of a withdrawn batch",
            "upkeep.gc",
            "needed = set(versions[0].withdrawn) | self._live()",
            "needed = self._live()",
        ),
        story.a_delta_is_needed_again,
    ),
]
