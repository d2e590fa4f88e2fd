"""The contract's hashes, written a second time and independently of the package: what its tests compare with."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expected:
    """One record as it should be published; `vector` holds float32 values."""

    id: str
    vector: tuple[float, ...]
    document: str | None
    metadata: dict[str, Any] | None


def part(data: bytes | None) -> bytes:
    """One part of a record's hash: its length as 8 bytes little-endian, then its bytes."""
    if data is None:
        return b"\xff" * 8
    return len(data).to_bytes(8, "little") + data


def reference_hash(record: Expected) -> bytes:
    """The hash of one record, from the contract's words."""
    vector = b"".join(struct.pack("<f", number) for number in record.vector)
    document = None if record.document is None else record.document.encode("utf-8")
    metadata = None
    if record.metadata is not None:
        ordered = dict(sorted(record.metadata.items()))
        metadata = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    whole = part(record.id.encode("utf-8")) + part(vector) + part(document) + part(metadata)
    return hashlib.sha256(whole).digest()


def reference_digest(records: Iterable[Expected]) -> str:
    """The content digest of all records, from the contract's words."""
    ordered = sorted(records, key=lambda record: record.id.encode("utf-8"))
    return hashlib.sha256(b"".join(reference_hash(record) for record in ordered)).hexdigest()
