"""`submit --now --complete`, and the ingest after it: what is published is the file, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embedding_assets.bucket.keys import records_key
from embedding_assets.databases import LINES
from embedding_assets.rows.record import input_sha256
from embedding_assets.submission.submit import Submitter
from embedding_assets_tests.dagster_defs.runs.world import texts
from embedding_assets_tests.faults.process import Fault, Planned
from embedding_assets_tests.faults.scene import BEFORE, Scene, completed
from embedding_assets_tests.faults.submit_scene import SETTINGS
from embedding_assets_tests.reference import Expected

WAITING = texts("w", 1, 30)
"""On its way, and not in the file."""
NEW = {BEFORE[1].id: "another text", "n0": "a new text", "n1": "one more"}
EMBEDDINGS = "POST /v1/embeddings"

NOT_OURS = (Fault.ANSWER_LOST, Fault.RESENT, Fault.PAUSED)
"""What at the call itself costs twice: an answer that nobody got, one that somebody between us and OpenAI asked
for again, a process that stands still past its lease."""


class CompleteScene(Scene):
    """Four published records and one on its way; a file with one of them as it is, one changed, two new."""

    def begin(self) -> None:
        """The published version, the batch that waits, the file."""
        world = self.world
        asked = {"model": SETTINGS.model, "dimensions": SETTINGS.dimensions}
        for name, wanted in (("before", BEFORE), ("waiting", WAITING)):
            lines = [
                {"id": one.id, "text": one.document, "input_sha256": _input_sha256(one.document)} for one in wanted
            ]
            world.services.store.put(records_key(name), "\n".join(map(json.dumps, lines)).encode())
            world.plant(name, wanted, row=asked)
            if name == "before":
                assert self.ingest(world.instance).failures == []
        whole = {BEFORE[0].id: BEFORE[0].document, **NEW}
        lines = [{"id": record_id, "text": text} for record_id, text in whole.items()]
        self.file.write_text("\n".join(map(json.dumps, lines)))
        body = {"model": SETTINGS.model, "input": [*NEW.values()], "dimensions": SETTINGS.dimensions}
        answer = world.server.control.post("/v1/embeddings", json=body).json()
        self._expected = {BEFORE[0].id: BEFORE[0]}
        for (record_id, text), entry in zip(NEW.items(), answer["data"], strict=True):
            self._expected[record_id] = Expected(record_id, tuple(entry["embedding"]), text, None)

    @property
    def file(self) -> Path:
        """The whole set."""
        return self.world.home / "whole.jsonl"

    def restore(self) -> None:
        """Nothing was asked of OpenAI."""
        super().restore()
        self.world.server.order("counters/reset")

    def act(self) -> bool:
        """What the two commands do; true if nothing was left to send or to publish."""
        sender = self.world.services.sender(LINES, lambda line: None)
        sent = Submitter(sender, SETTINGS, now=True, most_gone=1.0).submit([self.file])
        return super().act() and not sent.batches

    def expected(self) -> dict[str, Expected]:
        """The file."""
        return self._expected

    def expected_rows(self) -> dict[str, dict[str, Any]]:
        """Everything is published, as many batches as it may be."""
        wanted = {row["batch_id"]: completed(int(row.get("request_count", 0))) for row in self._made()}
        return {"before": completed(4), "waiting": completed(1), **wanted}

    def check(self, planned: Planned | None = None) -> None:
        """Also: each record was sent once, each deletion made once; paid once, unless an answer was lost."""
        super().check(planned)
        rows = self._made()
        assert sum(int(row.get("request_count", 0)) for row in rows) == len(NEW), rows
        assert sum(int(row.get("deletion_count", 0)) for row in rows) == len([*BEFORE[2:], *WAITING])
        paid = self.world.server.requests(EMBEDDINGS)
        assert 1 <= paid <= (2 if planned is not None and _lost_an_answer(planned) else 1), paid

    def _made(self) -> list[dict[str, Any]]:
        """The rows that `submit` made."""
        rows = self.world.rows().values()
        return [row for row in rows if str(row.get("batch_id")).startswith("batch-")]


def _input_sha256(text: str | None) -> str:
    assert text is not None
    return input_sha256(text, text, None, SETTINGS.model, SETTINGS.dimensions)


def _lost_an_answer(planned: Planned) -> bool:
    """Whether an answer was given and not uploaded; that upload follows the one of the records."""
    if planned.site.caller.endswith("at_once._delivered"):
        return planned.fault in (Fault.CRASH_AFTER, *NOT_OURS)
    answers = planned.site.caller.endswith("Sender._upload") and planned.occurrence > 1
    return answers and planned.fault in (Fault.CRASH_BEFORE, Fault.REFUSED, Fault.PAUSED)
