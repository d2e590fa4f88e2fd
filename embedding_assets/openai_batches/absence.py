"""When something that OpenAI does not show counts as gone. Pure.

Absence needs two witnesses: a batch or a file that is missing once may be a hiccup of OpenAI, of a proxy, or of a
key. What is gone for good is still gone an hour later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from embedding_assets.ledger.batch_summary import BatchSummary, format_instant

OPENAI_KEEPS = timedelta(days=30)
"""How long OpenAI keeps the files of a batch. An older batch is believed gone at the first look."""

GRACE = timedelta(hours=1)
"""The default of EMBEDDING_ASSETS_MISSING_GRACE_SECONDS."""

NAMED = 5
"""Missing batches that a warning names."""

ANOTHER_PROJECT = (
    "the key in OPENAI_API_KEY seems to belong to another project: OpenAI knows none of the batches that were "
    "asked for, and its list shows no batch of this table. Nothing was changed. Use the right key; "
    "`embedding-assets reset --batch ID --status FAILED` settles a batch by hand"
)


@dataclass(frozen=True)
class Absence:
    """Decides whether a batch that is missing is gone."""

    grace: timedelta = GRACE

    def is_gone(self, batch: BatchSummary, now: datetime) -> bool:
        """Whether a batch that is missing at `now` is believed gone.

        It is if it was missing at an earlier look at least `grace` before, or if OpenAI keeps nothing so old.
        """
        if is_old(batch, now):
            return True
        return batch.missing_since is not None and now - batch.missing_since >= self.grace

    def waits(self, batch: BatchSummary, now: datetime) -> bool:
        """Whether a batch was missing at an earlier look and has time left to show up again."""
        return batch.missing_since is not None and not self.is_gone(batch, now)


def is_old(batch: BatchSummary, now: datetime) -> bool:
    """Whether OpenAI may have deleted the files of this batch by its own rule."""
    return now - batch.submitted_at > OPENAI_KEEPS


def missing_warning(batches: Iterable[BatchSummary]) -> str | None:
    """One line about the batches that OpenAI does not show, oldest absence first; None without one."""
    since = {batch.batch_id: batch.missing_since for batch in batches}
    missing = sorted((instant, batch_id) for batch_id, instant in since.items() if instant is not None)
    if not missing:
        return None
    named = ", ".join(f"{batch_id} (since {format_instant(instant)})" for instant, batch_id in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"OpenAI does not show the batch or the output of {named}{more}; each is looked for again"
