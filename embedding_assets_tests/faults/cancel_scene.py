"""Batches cancelled at OpenAI, one of which has ended by then. One more scene for faults."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from embedding_assets.errors import BatchError
from embedding_assets.submission.cancel import Canceller
from embedding_assets_tests.dagster_defs.runs.world import request_line, texts
from embedding_assets_tests.deltas import DIMENSIONS, MODEL
from embedding_assets_tests.faults.scene import BEFORE, Scene, completed
from embedding_assets_tests.reference import Expected

BATCHES = {"ended": texts("e", 3), "going": texts("g", 3, 10), "started": texts("s", 2, 20)}
NOT_ANSWERED = ("g2", "s0", "s1")
"""Requests that OpenAI has not come to when their batch is cancelled."""


class CancelScene(Scene):
    """Three batches: one has ended at OpenAI, one has some answers, one has none; cancelled, and ingested."""

    def begin(self) -> None:
        """A published version; the rows; OpenAI's batches are made in each case."""
        self.world.plant("before", BEFORE)
        assert self.ingest(self.world.instance).failures == []
        answers: dict[str, Expected] = {}
        for name, wanted in BATCHES.items():
            self.world.put_row(name, openai_batch_id=self._made(name, wanted))
            answers |= self._answers(wanted)
        self._expected = {one.id: one for one in [*BEFORE, *answers.values()] if one.id not in NOT_ANSWERED}

    def restore(self) -> None:
        """OpenAI's batches are as they were, under other ids."""
        super().restore()
        self.world.server.order("reset")
        for name, wanted in BATCHES.items():
            self.world.put_row(name, openai_batch_id=self._made(name, wanted))

    def act(self) -> bool:
        """What `cancel` and then `ingest` do, once OpenAI has ended what was cancelled."""
        services = self.world.services
        rows = services.ledger.get_many(BATCHES).values()
        live = [row for row in rows if row.status.live]
        try:
            Canceller(services.ledger, services.openai).cancel_all(live, lambda line: None)
        except BatchError:
            """What has ended, or was cancelled before, is for the ingest."""
        for row in live:
            self._wait_while_cancelling(row.openai_batch_id)
        settled = super().act() if live else True
        return settled and not live

    def expected(self) -> dict[str, Expected]:
        """What was answered is published."""
        return self._expected

    def expected_rows(self) -> dict[str, dict[str, Any]]:
        """What was cancelled says so, and what is missing."""
        cancelled = {"status": "CANCELLED", "GSI1PK": "STATUS#CANCELLED", "failed_count": 0}
        return {
            "before": completed(4),
            "ended": completed(3),
            "going": {**cancelled, "embedded_count": 2, "unfinished_count": 1},
            "started": {**cancelled, "embedded_count": 0, "unfinished_count": 2},
        }

    def _made(self, name: str, wanted: Sequence[Expected]) -> str:
        """A batch at OpenAI: its id."""
        hold = None if name == "ended" else "in_progress"
        silent = [one.id for one in wanted if one.id in NOT_ANSWERED]
        plan = {"hold": hold, "requests": [{"kind": "unfinished", "custom_ids": silent}]}
        self.world.server.order("plans", {"plan": plan, "next": 1})
        control = self.world.server.control
        lines = "\n".join(map(request_line, wanted)).encode()
        uploaded = control.post("/v1/files", files={"file": ("in.jsonl", lines)}, data={"purpose": "batch"}).json()
        body = {
            "input_file_id": uploaded["id"],
            "endpoint": "/v1/embeddings",
            "completion_window": "24h",
        }
        openai_batch_id: str = control.post("/v1/batches", json=body).json()["id"]
        # What OpenAI has not come to before it is asked to cancel has no answer.
        while self._batch(openai_batch_id)["request_counts"]["completed"] < len(wanted) - len(silent):
            time.sleep(0.002)
        return openai_batch_id

    def _answers(self, wanted: Sequence[Expected]) -> dict[str, Expected]:
        body = {"model": MODEL, "input": [one.document for one in wanted], "dimensions": DIMENSIONS}
        answer = self.world.server.control.post("/v1/embeddings", json=body).json()
        vectors = [tuple(entry["embedding"]) for entry in answer["data"]]
        return {
            one.id: Expected(one.id, vector, one.document, None)
            for one, vector in zip(wanted, vectors, strict=True)
        }

    def _batch(self, openai_batch_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.world.server.control.get(f"/v1/batches/{openai_batch_id}").json()
        return found

    def _wait_while_cancelling(self, openai_batch_id: str) -> None:
        while self._batch(openai_batch_id)["status"] == "cancelling":
            time.sleep(0.002)
