"""Every guard against a lost pointer, with the story that goes wrong without it."""

from __future__ import annotations

from collections.abc import Callable

from embedding_assets_tests.schedules import lost_pointer as story
from embedding_assets_tests.schedules.without import Guard
from embedding_assets_tests.schedules.yard import Yard

Story = Callable[[Yard], None]

LOST_POINTER_GUARDS: list[tuple[Guard, Story]] = [
    (
        Guard(
            "lost pointer: looked for under the lock",
            "versions.publisher",
            "            require(self.store, self.database, witnesses, pointer)\n",
            "",
        ),
        story.the_pointer_is_put_back,
    ),
    (
        Guard(
            "lost pointer: missing, and the table knows",
            "versions.witnesses",
            "next(iter(witnesses.versions), None) or newest_receipt(store, database)",
            "None",
        ),
        story.the_pointer_is_deleted,
    ),
    (
        Guard(
            "lost pointer: missing, and a receipt knows",
            "versions.witnesses",
            " or newest_receipt(store, database)",
            "",
        ),
        story.the_table_is_lost_with_the_pointer,
    ),
    (
        Guard(
            "lost pointer: the lock's item names what was committed",
            "versions.publisher",
            "        self.note_published(manifest, lock)\n",
            "",
        ),
        story.it_is_put_back_before_anybody_marked,
    ),
    (
        Guard(
            "lost pointer: the next holder notes what it finds",
            "versions.publisher",
            "self.note_published(pointer.manifest, lock, known=witnesses.published)",
            "pass",
        ),
        story.its_publisher_died_and_another_looked,
    ),
    (
        Guard(
            "lost pointer: the table knows a version before its rows are marked",
            "versions.mark",
            "    bookmark.begin(published.version)\n",
            "",
        ),
        story.its_publisher_died_and_so_did_the_marker,
    ),
    (
        Guard(
            "lost pointer: nothing is marked from it",
            "versions.mark",
            "    pointer = trusted_pointer(store, ledger, database)\n",
            "    from embedding_assets.versions import manifest\n"
            "    pointer = manifest.read_pointer(store, database)\n",
        ),
        story.it_is_put_back_before_anybody_marked,
    ),
    (
        Guard(
            "repair: only what was committed",
            "upkeep.repair",
            " and self._is_committed(manifest, parents)",
            "",
        ),
        story.a_manifest_proves_no_commit,
    ),
    (
        Guard(
            "repair: a receipt proves a commit",
            "upkeep.repair",
            "        return receipt == manifest.version\n",
            "        return False\n",
        ),
        story.a_receipt_proves_a_commit,
    ),
    (
        Guard(
            "repair: only a version whose files are there",
            "upkeep.repair",
            "for line in missing_files(self.store, self.database, found.target):",
            "for line in ():",
        ),
        story.a_file_of_it_is_gone,
    ),
    (
        Guard(
            "repair: fenced",
            "versions.publish",
            'manifest.model_copy(update={"fence": epoch}).model_dump_json',
            "manifest.model_dump_json",
        ),
        story.a_former_holder_wakes_up_after_a_repair,
    ),
    (
        Guard(
            "repair: an epoch above those of all versions",
            "upkeep.repair",
            "*(epoch_of(name) or 0 for name in self._names())",
            "",
        ),
        story.a_former_holder_wakes_up_after_all_was_lost,
    ),
    (
        Guard(
            "repair: replaces what it saw",
            "versions.publish",
            "store.replace(pointer_key(database), data, there.etag)",
            "store.put(pointer_key(database), data)",
        ),
        story.somebody_writes_the_pointer_while_it_is_repaired,
    ),
    (
        Guard(
            "repair: creates where it saw none",
            "versions.publish",
            "            if there is None:\n                store.create(",
            "            if there is None:\n                store.put(",
        ),
        story.a_smaller_epoch_repairs,
    ),
    (
        Guard(
            "lock: a malformed row is not waited for",
            "ledger.lease_row",
            "owner=_text(owner) if well_formed else None,",
            "owner=_text(owner),",
        ),
        story.a_lock_row_of_another_program,
    ),
    (
        Guard(
            "lock: a refused release ends nothing",
            "ledger.lease",
            "            self._renew(release=True)\n        except EmbeddingAssetsError as error:\n",
            "            self._renew(release=True)\n        except TransientError as error:\n",
        ),
        story.a_release_is_refused,
    ),
]
