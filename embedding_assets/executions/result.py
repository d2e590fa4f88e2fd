"""What a final merge tells, on the materialization of `final_snapshot` and to the command line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FinalMergeResult(BaseModel):
    """What an execution published, or found published. `snapshot_version` is None if nothing ever was.

    `writer` is who wrote the version's Chroma files, `chroma` or `direct`; `writer_reason` why Chroma had to.
    `recall` is the share of the nearest records that searches in the version find, None if it was not measured;
    `nodes` are those of its graph, with those of deleted and replaced records.
    """

    model_config = ConfigDict(frozen=True)

    execution_id: str
    snapshot_key: str
    snapshot_version: str | None
    total_embeddings: int
    added: int
    updated: int
    unchanged: int
    processing_time_seconds: float
    batches: tuple[str, ...]
    content_digest: str | None = None
    size: int = 0
    removed: int = 0
    writer: str | None = None
    writer_reason: str | None = None
    recall: float | None = None
    nodes: int | None = None

    @property
    def written(self) -> str:
        """Who wrote the version's Chroma files, in words."""
        return f"{self.writer} ({self.writer_reason})" if self.writer_reason else self.writer or ""
