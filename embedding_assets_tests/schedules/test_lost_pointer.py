"""A pointer that was deleted or put back: nothing is lost by it, and it is put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedding_assets_tests.faults.process import processes
from embedding_assets_tests.schedules import lost_pointer as story
from embedding_assets_tests.schedules.guards import Story
from embedding_assets_tests.schedules.yard import Yard


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """An empty bucket and table."""
    made = Yard()
    made.patch(monkeypatch)
    with processes():
        yield made


@pytest.mark.parametrize(
    "told",
    [
        story.the_pointer_is_deleted,
        story.the_pointer_is_put_back,
        story.it_is_put_back_before_anybody_marked,
        story.its_publisher_died_and_another_looked,
        story.its_publisher_died_and_so_did_the_marker,
        story.nobody_knew_of_it,
        story.an_older_table_stops_nobody,
        story.a_manifest_proves_no_commit,
        story.a_receipt_proves_a_commit,
        story.a_file_of_it_is_gone,
        story.a_former_holder_wakes_up_after_a_repair,
        story.a_former_holder_wakes_up_after_all_was_lost,
        story.the_table_is_lost_with_the_pointer,
        story.somebody_writes_the_pointer_while_it_is_repaired,
        story.a_lock_row_of_another_program,
        story.a_release_is_refused,
        story.a_smaller_epoch_repairs,
    ],
)
def test_a_story(yard: Yard, told: Story) -> None:
    """Each ends well."""
    told(yard)
