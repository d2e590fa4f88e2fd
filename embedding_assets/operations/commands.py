"""The commands that `status` suggests, as they are typed."""

from __future__ import annotations

from embedding_assets.ledger.batch_summary import Status

INGEST = "embedding-assets ingest"


def story(batch_id: str) -> str:
    """Tells everything of one batch."""
    return f"embedding-assets status --batch {batch_id}"


def reset(batch_id: str) -> str:
    """Makes a batch that was set aside be planned again."""
    return f"embedding-assets reset --batch {batch_id} --status {Status.PENDING}"


def reprocess(batch_id: str) -> str:
    """Publishes a final batch again."""
    return f"embedding-assets reprocess --batch {batch_id}"


def resubmit(batch_id: str) -> str:
    """Sends what has no embedding as a new batch."""
    return f"embedding-assets resubmit --batch {batch_id}"
