"""What a user would write instead: parse the outputs, upsert into one client, upload the directory.

It checks nothing, keeps no account, and a reader who comes meanwhile sees half of it.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

from benchmarks.records import Records

AT_ONCE = 1000


def write_outputs(records: Records, batches: int, folder: Path) -> list[Path]:
    """OpenAI's output file and the records of each batch, vectors as base64."""
    paths = []
    for number, part in enumerate(records.split(batches)):
        path = folder / f"batch-{number:05d}.jsonl"
        with path.open("w", encoding="utf-8") as stream, path.with_suffix(".records").open("w") as asked:
            for record_id, document, metadata, vector in zip(
                part.ids, part.documents, part.metadata, part.vectors, strict=True
            ):
                data = [
                    {"object": "embedding", "index": 0, "embedding": base64.b64encode(vector.tobytes()).decode()}
                ]
                body = {"object": "list", "data": data, "model": "text-embedding-3-small"}
                response = {"status_code": 200, "request_id": f"req-{number}", "body": body}
                answer = {"id": f"r-{number}", "custom_id": record_id, "response": response, "error": None}
                stream.write(json.dumps(answer) + "\n")
                asked.write(json.dumps({"id": record_id, "document": document, "metadata": metadata}) + "\n")
        paths.append(path)
    return paths


def merge(outputs: list[Path], folder: Path) -> Path:
    """All outputs into one directory, and that to another place."""
    client: Any = chromadb.PersistentClient(str(folder / "chroma"), settings=Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection("lines", embedding_function=None)
    waiting: list[tuple[str, np.ndarray[Any, Any], str, dict[str, Any]]] = []
    for path in outputs:
        asked = {one["id"]: one for one in map(json.loads, path.with_suffix(".records").open())}
        for line in path.open():
            answer = json.loads(line)
            record = asked[answer["custom_id"]]
            vector = np.frombuffer(
                base64.b64decode(answer["response"]["body"]["data"][0]["embedding"]), dtype=np.float32
            )
            waiting.append((record["id"], vector, record["document"], record["metadata"]))
            if len(waiting) == AT_ONCE:
                _upsert(collection, waiting)
                waiting = []
    if waiting:
        _upsert(collection, waiting)
    client.close()
    return Path(shutil.copytree(folder / "chroma", folder / "uploaded"))


def _upsert(collection: Any, rows: list[tuple[str, np.ndarray[Any, Any], str, dict[str, Any]]]) -> None:
    ids, vectors, documents, metadata = zip(*rows, strict=True)
    collection.upsert(ids=list(ids), embeddings=list(vectors), documents=list(documents), metadatas=list(metadata))
