"""An index that Chroma made, imported: time and peak memory of each command.

`python -m benchmarks.importing --records 50000 --out FILE.json`. After the import a batch replaces one record, a
deletion takes one out, and `snapshots verify` reads every file and every record. The commands are those of the
command line, each a process of its own, on the embedded servers.

`peak_anonymous_mb` has no pages of files, which the system may drop at any time. Both are of the command and
of the process that reads the index, together.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, measured, progress, run_worker
from benchmarks.records import make_records
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.collection import ChromaRows, ChromaWriter
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.versions.manifest import read_pointer

DIMENSIONS = 1536
COLLECTION = "elsewhere"
COMMAND = "benchmarks.measured_command"


def main() -> None:
    """Make the index, import it, change it, verify it; write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-importing-") as name, EmbeddedStack() as stack:
        folder = Path(name)
        os.environ.update(stack.environment)
        os.environ.update(DAGSTER_HOME=str(folder / "home"), EMBEDDING_ASSETS_DIMENSIONS=str(DIMENSIONS))
        progress(f"Chroma makes an index of {options.records:,}")
        with measured() as cost:
            first, last = make_index(folder / "index", options.records)
        figures = {
            "machine": machine(),
            "records": options.records,
            "index_mb": round(size_of(folder / "index") / 2**20),
            "made_by_chroma": {"wall": cost.wall, "cpu": cost.cpu},
            "import": command("snapshots", "import", "lines", str(folder / "index")),
            "again": command("snapshots", "import", "lines", str(folder / "index")),
            "change_one_delete_one": change(folder, first, last),
            "verify": command("snapshots", "verify", "lines"),
        }
        check_count(options.records - 1)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    progress(json.dumps(figures))


def make_index(directory: Path, count: int) -> tuple[str, str]:
    """Chroma itself makes the collection; the first and the last id."""
    records = make_records(count, DIMENSIONS)
    with ChromaWriter(directory, COLLECTION, "l2", count) as writer:
        writer.add(ChromaRows(records.ids, records.vectors, [*records.documents], [*records.metadata]))
    return records.ids[0], records.ids[-1]


def size_of(directory: Path) -> int:
    """Bytes of its files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def change(folder: Path, replaced: str, deleted: str) -> dict[str, Any]:
    """Submit one record with another text, and the deletion of another; ingest."""
    records, gone = folder / "records.jsonl", folder / "gone"
    records.write_text(json.dumps({"id": replaced, "text": "another text"}))
    gone.write_text(deleted)
    submitted = command("submit", "lines", str(records), "--delete-ids", str(gone))
    return {"submit": submitted, "ingest": command("ingest", "--database", "lines", "--wait")}


def check_count(wanted: int) -> None:
    """SystemExit if the published version has another number of records."""
    pointer = read_pointer(Store(os.environ["CHROMADB_BUCKET"]), LINES)
    there = pointer.manifest.total_embeddings if pointer is not None else 0
    if there != wanted:
        raise SystemExit(f"{there} records are published, not {wanted}")


def command(*arguments: str) -> dict[str, Any]:
    """Run it; seconds, MB. SystemExit if it fails."""
    cost = run_worker(COMMAND, arguments, children=True)
    progress(f"{' '.join(arguments[:2])}: {cost}")
    return cost


if __name__ == "__main__":
    main()
