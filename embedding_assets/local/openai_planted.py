"""Batches that a test puts into the local OpenAI server byte for byte."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from embedding_assets.local.openai_files import FileStore
from embedding_assets.local.openai_plans import PlantedBatch
from embedding_assets.local.openai_timeline import COMPLETION_WINDOW_SECONDS, errors_view, usage_view

ENDPOINT = "/v1/embeddings"


@dataclass(frozen=True, slots=True)
class Planted:
    """A batch whose object never changes."""

    id: str
    created_at: float
    body: dict[str, Any]
    hidden: bool = False

    def view(self, now: float) -> dict[str, Any]:
        """The batch object of the API, the same at every `now`."""
        return self.body


def plant(order: PlantedBatch, files: FileStore, now: float) -> Planted:
    """Store the files of `order` and make its batch object."""
    created = int(now) if order.created_at is None else order.created_at

    def stored(content: str | bytes | None, name: str, purpose: str) -> str | None:
        if content is None:
            return None
        data = content.encode() if isinstance(content, str) else content
        return files.save_bytes(data, f"{order.id}_{name}.jsonl", purpose).id

    output = base64.b64decode(order.output_base64) if order.output_base64 is not None else order.output
    total, completed, failed = (
        sum(1 for line in (text or "").splitlines() if line.strip())
        for text in (order.input, order.output, order.errors)
    )
    instants = {
        f"{status}_at": created if status in ("in_progress", "finalizing", order.status) else None
        for status in (
            "in_progress",
            "finalizing",
            "completed",
            "failed",
            "expired",
            "cancelling",
            "cancelled",
        )
    }
    body: dict[str, Any] = {
        "id": order.id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "model": None,
        "errors": errors_view(order.batch_errors),
        "input_file_id": stored(order.input or "", "input", "batch"),
        "completion_window": "24h",
        "status": order.status,
        "output_file_id": stored(output, "output", "batch_output"),
        "error_file_id": stored(order.errors, "error", "batch_output"),
        "created_at": created,
        "expires_at": created + COMPLETION_WINDOW_SECONDS,
        **instants,
        "request_counts": {"total": total, "completed": completed, "failed": failed},
        "usage": usage_view(0),
        "metadata": None,
    }
    return Planted(order.id, created, body | order.fields)
