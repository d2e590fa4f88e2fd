"""Records and deletions submitted: whatever happens, each is on its way once. The third scene for faults."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from embedding_assets.bucket.keys import records_key
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.submission.parts import EmbeddingModel, Limits
from embedding_assets.submission.submit import Submitter
from embedding_assets_tests.dagster_defs.runs.world import texts
from embedding_assets_tests.deltas import DIMENSIONS, MODEL
from embedding_assets_tests.faults.process import Fault, Planned
from embedding_assets_tests.faults.scene import BEFORE, Scene, run_untapped

RECORDS = [BEFORE[0], *texts("s", 4, 60)]
GONE = ("u1", "u2")
EXPIRED = texts("e", 3, 80)
BUDGET = 1_000_000
RECORDS_A_BATCH = 2
SETTINGS = EmbeddingModel(MODEL, DIMENSIONS)
URGENT = texts("n", 2, 90)
"""Embedded at once."""
SUBMITTED = {**{one.id: one.document for one in RECORDS}, "copy": RECORDS[-1].document}
"""Their texts: that of the first is published, the last two share one."""

BEYOND_US = (Fault.RESENT, Fault.PAUSED)
"""What at the very creation of a batch costs twice: somebody between us and OpenAI who repeats a request that was
sent once, and a process that stands still past its lease after its last look at it."""


class SubmitScene(Scene):
    """A file of six records, one of a published text, two of one text; one of two ids; one that is urgent; a batch
    that expired."""

    def begin(self) -> None:
        """The published version."""
        self.world.plant("before", BEFORE, row={"model": SETTINGS.model, "dimensions": SETTINGS.dimensions})
        known = [{"id": one.id, "text": one.document} for one in BEFORE]
        self.world.services.store.put(records_key("before"), "\n".join(map(json.dumps, known)).encode())
        self.world.plant("expired", EXPIRED, status="expired", answered=EXPIRED[:1])
        assert self.ingest(self.world.instance).failures == []
        self.records.write_text(
            "".join(json.dumps({"id": record_id, "text": text}) + "\n" for record_id, text in SUBMITTED.items())
        )
        self.gone.write_text("\n".join(GONE))
        urgent = [{"id": one.id, "text": one.document} for one in URGENT]
        self.urgent.write_text("\n".join(map(json.dumps, urgent)))

    @property
    def records(self) -> Path:
        """The file of records."""
        return self.world.home / "submitted.jsonl"

    @property
    def gone(self) -> Path:
        """The file of ids."""
        return self.world.home / "deleted"

    @property
    def urgent(self) -> Path:
        """The file of records that cannot wait."""
        return self.world.home / "urgent.jsonl"

    def restore(self) -> None:
        """OpenAI has no batch but the one that expired."""
        super().restore()
        self.world.server.order("reset")
        self.world.plant_openai("expired", EXPIRED, status="expired", answered=EXPIRED[:1])

    def act(self) -> bool:
        """What `embedding-assets submit` does; true if nothing was left to send."""
        services = self.world.services
        sender = services.sender(LINES, lambda line: None)
        submitter = Submitter(sender, SETTINGS, enqueued_tokens=BUDGET)
        sent = submitter.submit([self.records], self.gone, Limits(requests=RECORDS_A_BATCH))
        urgent = Submitter(sender, SETTINGS, now=True).submit([self.urgent])
        expired = services.ledger.get("expired")
        if expired.resubmitted_as is None:
            services.resubmitter(LINES, lambda line: None).resubmit(expired, now=True)
            return False
        return not sent.batches and not urgent.batches

    def check(self, planned: Planned | None = None) -> None:
        """Each record and each deletion is in one live batch; each batch was made once, and has its row."""
        services = self.world.services
        rows = list(services.ledger.live(LINES).ready_to_plan)
        submitted = Counter(value["id"] for row in rows if not row.is_deletion for value in self._lines(row))
        assert submitted == Counter([*SUBMITTED, *(one.id for one in [*EXPIRED[1:], *URGENT])])
        child = services.ledger.get("expired").resubmitted_as
        assert [row.batch_id for row in rows if row.parent_batch_id == "expired"] == [child]
        assert Counter(value["id"] for row in rows if row.is_deletion for value in self._lines(row)) == Counter(
            GONE
        )
        listed = self.world.server.control.get("/v1/batches").json()["data"]
        made = Counter(batch["metadata"]["batch_id"] for batch in listed if batch["metadata"])
        assert made.keys() == {row.batch_id for row in rows if row.at_openai}
        local = {value["id"]: row.answered_at_once for row in rows if row.is_local for value in self._lines(row)}
        assert local == {BEFORE[0].id: False, **{one.id: True for one in URGENT}}
        most = 2 if planned is not None and _beyond_us(planned) else 1
        assert [count for count in made.values() if count > most] == [], made
        assert all(row.request_count == len(self._lines(row)) for row in rows if not row.is_deletion)

    def _lines(self, row: BatchSummary) -> list[dict[str, str]]:
        stored = run_untapped(lambda: self.world.services.store.get(records_key(row.batch_id)))
        return [json.loads(line) for line in stored.splitlines()]


def _beyond_us(planned: Planned) -> bool:
    return planned.fault in BEYOND_US and planned.site.caller.endswith("create_batch")
