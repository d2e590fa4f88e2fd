"""What a merge changes: the incoming records against the record index of the published version.

Pure: tables in, masks and a new index out. A later submission wins over an earlier one for the same id,
whatever the order in which they arrive; a tombstone is such a submission too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.errors import ConservationError
from embedding_assets.executions.fold import Mask, winners
from embedding_assets.rows.record_index import COLUMNS, SCHEMA, alive, sort_index


@dataclass(frozen=True)
class Changes:
    """What a merge does. `add` and `update` are masks over the incoming rows, in their order.

    `changed_ids` are the ids of the rows that they choose. `removed` are the ids of published records that a
    deletion takes out. `unchanged` counts incoming ids that are published as they are, or by a later
    submission. `index` is the new record index; `index_changed` is false where it equals the old one.
    """

    add: Mask
    update: Mask
    changed_ids: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    index: pa.Table
    index_changed: bool

    @property
    def added(self) -> int:
        """Records that were not published before."""
        return int(self.add.sum())

    @property
    def updated(self) -> int:
        """Records that replace a published one."""
        return int(self.update.sum())

    @property
    def changed(self) -> bool:
        """Whether any published record is another one afterwards."""
        return bool(self.added or self.updated or self.removed)


def compare(
    incoming: pa.Table, base: pa.Table, stale: Collection[str] = (), left_out: Collection[str] = ()
) -> Changes:
    """Compare all incoming rows (key columns and what the index carries) with the base's index.

    A row whose hash is null is a deletion.
    A row of a `stale` batch, which was opened again since it was polled, yields to a published row of the same
    batch: that one is newer. The records of the batches `left_out` are published and not among the incoming ones:
    they count as unchanged. Raises ConservationError if ids of base and incoming do not add up.
    """
    ordinals = np.flatnonzero(winners(incoming))
    chosen = incoming.take(pa.array(ordinals)).combine_chunks()
    place = pc.index_in(chosen.column("id"), value_set=base.column("id").combine_chunks())
    known = pc.is_valid(place).to_numpy(zero_copy_only=False)
    there = base.take(pc.fill_null(place, 0)) if base.num_rows else None
    wins = np.ones(len(ordinals), dtype=np.bool_)
    equal = np.zeros(len(ordinals), dtype=np.bool_)
    alive = np.zeros(len(ordinals), dtype=np.bool_)
    if there is not None:
        wins = ~known | _wins(chosen, there, stale)
        equal = known & _equal(chosen, there, "hash")
        alive = known & pc.is_valid(there.column("hash")).to_numpy(zero_copy_only=False)
    delivers = pc.is_valid(chosen.column("hash")).to_numpy(zero_copy_only=False)
    add, update = wins & delivers & ~alive, wins & delivers & alive & ~equal
    remove = wins & ~delivers & alive
    index = _merged_index(base, chosen, place, wins)
    if index.num_rows != base.num_rows + int((~known).sum()):
        raise ConservationError(
            f"{base.num_rows} published ids and {int((~known).sum())} new ones gave {index.num_rows}"
        )
    return Changes(
        add=_spread(add, ordinals, incoming.num_rows),
        update=_spread(update, ordinals, incoming.num_rows),
        changed_ids=tuple(chosen.filter(pa.array(add | update)).column("id").to_pylist()),
        removed=tuple(chosen.filter(pa.array(remove)).column("id").to_pylist()),
        unchanged=len(ordinals) - int((add | update | remove).sum()) + _left_out(base, chosen, left_out),
        index=index,
        index_changed=not index.equals(base),
    )


def _left_out(base: pa.Table, chosen: pa.Table, batches: Collection[str]) -> int:
    """How many published records are of the batches and have no row among the incoming ones."""
    published = alive(base)
    theirs = published.filter(pc.is_in(published.column("batch_id"), pa.array(batches, pa.string())))
    incoming = theirs.filter(pc.is_in(theirs.column("id"), chosen.column("id").combine_chunks()))
    return int(theirs.num_rows - incoming.num_rows)


def _wins(chosen: pa.Table, there: pa.Table, stale: Collection[str]) -> Mask:
    """Whether the incoming row has the greater precedence, or an equal one that is not stale."""
    new_time, old_time = (_micros(table) for table in (chosen, there))
    new_batch, old_batch = (
        np.array(table.column("batch_id").to_pylist(), dtype=object) for table in (chosen, there)
    )
    later = (new_time > old_time) | ((new_time == old_time) & (new_batch > old_batch))
    same = (new_time == old_time) & (new_batch == old_batch)
    if stale:
        same &= ~np.isin(new_batch.astype(str), list(stale))
    mask: Mask = np.asarray(later | same, dtype=np.bool_)
    return mask


def _micros(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values: np.ndarray[tuple[int], np.dtype[np.int64]] = table.column("precedence_at").cast(pa.int64()).to_numpy()
    return values


def _equal(chosen: pa.Table, there: pa.Table, column: str) -> Mask:
    same = pc.fill_null(pc.equal(chosen.column(column), there.column(column)), False)
    mask: Mask = same.to_numpy()
    return mask


def _merged_index(base: pa.Table, chosen: pa.Table, place: pa.Array, wins: Mask) -> pa.Table:
    """The base's rows, those that lost replaced by the winning incoming ones, in id order."""
    replaced = place.to_numpy(zero_copy_only=False)[wins & pc.is_valid(place).to_numpy(zero_copy_only=False)]
    keep = np.ones(base.num_rows, dtype=np.bool_)
    keep[replaced.astype(np.int64)] = False
    kept = base.filter(pa.array(keep))
    fresh = chosen.filter(pa.array(wins)).select(COLUMNS).cast(SCHEMA)
    return sort_index(pa.concat_tables([kept, fresh])).combine_chunks()


def _spread(mask: Mask, ordinals: np.ndarray[tuple[int], np.dtype[np.intp]], size: int) -> Mask:
    spread = np.zeros(size, dtype=np.bool_)
    spread[ordinals[mask]] = True
    return spread
