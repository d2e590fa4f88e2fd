"""What the ways to merge begin with, written once for each size and left as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.merging.deltas import folder_store, put_deltas
from benchmarks.merging.script import write_outputs
from benchmarks.records import Records, make_records
from embedding_assets.openai_batches.poll_result import PollResult

BATCHES = 300


@dataclass(frozen=True)
class Prepared:
    """One size's deltas, in Arrow and in Chroma, and OpenAI's outputs; below one folder."""

    folder: Path

    @property
    def arrow(self) -> Path:
        """Bucket of our deltas."""
        return self.folder / "arrow"

    @property
    def chroma(self) -> Path:
        """Bucket of the replaced design's deltas."""
        return self.folder / "chroma"

    @property
    def outputs(self) -> list[Path]:
        """OpenAI's output files."""
        return sorted((self.folder / "outputs").glob("*.jsonl"))

    def results(self, form: str) -> list[PollResult]:
        """The poll results that name the deltas of a form."""
        found = json.loads((self.folder / f"{form}.json").read_text())
        return [PollResult.model_validate(one) for one in found]

    def records(self) -> Records:
        """The records themselves."""
        found = json.loads((self.folder / "size.json").read_text())
        return make_records(found["count"], found["dimensions"])


def prepare(
    folder: Path, count: int, dimensions: int, *, batches: int = BATCHES, only_ours: bool = False
) -> Prepared:
    """Write everything for one size; with `only_ours` our own deltas alone."""
    folder.mkdir(parents=True)
    (folder / "size.json").write_text(json.dumps({"count": count, "dimensions": dimensions}))
    prepared = Prepared(folder)
    records = make_records(count, dimensions)
    _put(prepared, records, "arrow", batches)
    if not only_ours:
        _put(prepared, records, "chroma", batches)
        (folder / "outputs").mkdir()
        write_outputs(records, batches, folder / "outputs")
    return prepared


def _put(prepared: Prepared, records: Records, form: str, batches: int) -> None:
    bucket = prepared.arrow if form == "arrow" else prepared.chroma
    results = put_deltas(folder_store(bucket), records, batches, "arrow" if form == "arrow" else "chroma")
    found = [result.model_dump(mode="json") for result in results]
    (prepared.folder / f"{form}.json").write_text(json.dumps(found))
