"""Where a batch's objects lie in the bucket."""

from __future__ import annotations


def batch_key(batch_id: str) -> str:
    """Key of a batch's row as it was when the batch was last polled or marked."""
    return f"poll_results/{batch_id}/batch.json"


def records_key(batch_id: str) -> str:
    """Key of what was submitted as this batch."""
    return f"records/{batch_id}.jsonl"


def result_key(batch_id: str) -> str:
    """Key of a batch's poll result."""
    return f"poll_results/{batch_id}/result.json"


def errors_key(batch_id: str) -> str:
    """Key of a batch's requests without an embedding."""
    return f"poll_results/{batch_id}/errors.jsonl"
