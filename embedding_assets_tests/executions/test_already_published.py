"""Deltas that the published version holds already: left out where that is certain, and nowhere else."""

from __future__ import annotations

from datetime import datetime

import pytest

from embedding_assets.bucket.keys import changes_key, delta_prefix
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError, TransientError
from embedding_assets.executions.already_published import with_published
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.versions.receipts import receipt_key
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.recording_store import RecordingStore


def opened_again(bench: Workbench, result: PollResult) -> PollResult:
    """The batch as an execution polls it after `reprocess`."""
    bench.forget(result.batch_id)
    precedence = result.precedence_at or datetime.max
    row = bench.row(result.batch_id, precedence, generation=result.generation + 1)
    return result.model_copy(update={"generation": row.generation})


def told(bench: Workbench, *results: PollResult) -> list[PollResult]:
    """The results as an execution's poll leaves them."""
    return with_published(bench.store, LINES, bench.pointer().manifest, results)


def test_what_is_published_is_not_folded_again(bench: Workbench) -> None:
    """No chunk, no file but the new manifest; the batch is accounted for, every record counts as unchanged."""
    first = bench.batch("b1", records("a", 5), at(0))
    bench.merge([first], 1)
    before, keys = bench.pointer().manifest, bench.keys()
    (again,) = told(bench, opened_again(bench, first))
    assert again.published_as == before.version
    result = bench.merge([again], 2)
    assert (result.added, result.updated, result.unchanged, result.total_embeddings) == (0, 0, 5, 5)
    after = bench.pointer().manifest
    assert (after.files, after.content_digest) == (before.files, before.content_digest)
    assert after.writer == before.writer
    assert [(one.batch_id, one.generation, one.embedded) for one in after.batches] == [("b1", 1, 5)]
    receipt = receipt_key(LINES, after.execution_id, after.inputs_digest)
    assert bench.keys() - keys == {
        f"lines/snapshot/versions/{after.version}/manifest.json",
        changes_key(LINES, after.version),
        receipt,
    }


def test_an_id_counts_once(bench: Workbench) -> None:
    """One that a later batch of the same execution replaces is updated, not unchanged as well."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    (again,) = told(bench, opened_again(bench, first))
    second = bench.batch("b2", records("a", 1, seed=40), at(1))
    result = bench.merge([again, second], 2)
    assert (result.added, result.updated, result.unchanged, result.total_embeddings) == (0, 1, 2, 3)


def test_a_batch_that_was_never_opened_again_costs_no_look(bench: Workbench) -> None:
    """Neither the record index nor the chain is read."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    store = RecordingStore(bench.store)
    results = with_published(store, LINES, bench.pointer().manifest, [first])
    assert results == [first]
    assert store.read == []


def test_another_delta_is_folded(bench: Workbench) -> None:
    """Corrected records give another delta id, whatever the counts."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    again = opened_again(bench, first).model_copy(update={"delta_key": f"{delta_prefix(LINES)}other/"})
    assert told(bench, again) == [again]


def test_the_latest_publication_counts(bench: Workbench) -> None:
    """Once as it was, once corrected: what came first is not what is published."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    bench.forget("b1")
    corrected = bench.batch("b1", records("a", 3, seed=60), at(0), generation=1)
    bench.merge([corrected], 2)
    again = opened_again(bench, first).model_copy(update={"generation": 2})
    assert told(bench, again) == [again]


def test_a_batch_of_which_a_record_was_replaced_is_folded(bench: Workbench) -> None:
    """Its count would not be exact otherwise."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    bench.merge([bench.batch("b2", records("a", 1, seed=40), at(1))], 2)
    again = opened_again(bench, first)
    assert told(bench, again) == [again]
    result = bench.merge([again], 3)
    assert (result.added, result.updated, result.unchanged) == (0, 0, 3)


def test_a_batch_that_a_rollback_took_out_is_folded(bench: Workbench) -> None:
    """And so is whatever was published before a rollback: what stands now may be another delta's."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    again = opened_again(bench, first)
    published = bench.pointer().manifest
    for change in ({"withdrawn": ("b1",)}, {"rolled_back_to": "1-0123456789ab", "batches": ()}):
        manifest = published.model_copy(update=change)
        assert with_published(bench.store, LINES, manifest, [again]) == [again]


def test_what_was_published_before_another_model_is_folded(bench: Workbench) -> None:
    """A rebuild keeps batches and precedences, but the vectors are those of the new model."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    again = opened_again(bench, first)
    before = bench.pointer().manifest
    changes = {"version": "2-rebuilt", "model": "other", "parent": before.version, "batches": ()}
    rebuilt = before.model_copy(update=changes)
    assert with_published(bench.store, LINES, rebuilt, [again]) == [again]


def test_another_precedence_is_folded(bench: Workbench) -> None:
    """A row whose submission was corrected decides again which record wins."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    again = opened_again(bench, first).model_copy(update={"precedence_at": at(5)})
    assert told(bench, again) == [again]


def test_what_was_replaced_since_the_poll_stops_the_merge(bench: Workbench) -> None:
    """Left out because it was published, and then it is not any more: nothing is published, nothing lost."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    (again,) = told(bench, opened_again(bench, first))
    bench.merge([bench.batch("b2", records("a", 1, seed=40), at(1))], 2)
    version = bench.pointer().manifest.version
    with pytest.raises(TransientError, match="planned again"):
        bench.merge([again], 3)
    assert bench.pointer().manifest.version == version


def test_a_damaged_record_index_is_no_batchs_fault(bench: Workbench) -> None:
    """It is the version's: the error is of the kind that counts against no batch."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    again = opened_again(bench, first)
    index = next(file.key for file in bench.pointer().manifest.files if file.path == "records.arrow")
    bench.store.put(index, b"damaged")
    with pytest.raises(DamagedVersionError, match="is damaged"):
        told(bench, again)
