"""Records: what may be published, and the hashes that say whether two are the same.

The hash of a record and the content digest are defined in the project's contract: a record's hash is sha256
over id, vector (little-endian float32), document and metadata (canonical JSON), each part preceded by its
length in bytes as 8 bytes little-endian; an absent document or metadata has length 2^64-1 and no bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, cast

from embedding_assets.errors import InputError

_LENGTH = struct.Struct("<Q")
ABSENT = _LENGTH.pack(2**64 - 1)
INT_LIMIT = 2**63
"""Chroma turns integers from here on into floats."""

CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar | list[Scalar]]


def checked_metadata(metadata: object) -> Metadata | None:
    """Return `metadata` as it will be published: without keys whose value is null, None if nothing is left.

    Chroma can store neither an empty mapping nor a null. Raises InputError naming the key that Chroma would
    refuse or store as something else: NaN, infinities, integers from 2^63, nested values, reserved keys.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise InputError("metadata must be an object")
    kept: dict[str, Scalar | list[Scalar]] = {}
    for key, value in metadata.items():
        _check_key(key)
        if value is None:
            continue
        if isinstance(value, list):
            _check_list(key, value)
        else:
            _check_scalar(key, value)
        kept[key] = value
    return kept or None


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise InputError("a metadata key must be text and not empty")
    if not is_unicode(key):
        raise InputError(f"metadata key {key!r} is not Unicode text (a lone surrogate)")
    if key[0] in "$#" or key.startswith("chroma:"):
        raise InputError(f"metadata key {key!r} is reserved by Chroma")


def _check_scalar(key: str, value: object) -> None:
    if not isinstance(value, str | bool | int | float):
        raise InputError(f"metadata {key!r} must be text, a number, a boolean or a list of one of these")
    if isinstance(value, str) and not is_unicode(value):
        raise InputError(f"metadata {key!r} is not Unicode text (a lone surrogate)")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"metadata {key!r} is {value}: Chroma would store null")
    if isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        raise InputError(f"metadata {key!r} is {value}: Chroma stores integers of 64 bits")


def _check_list(key: str, values: list[object]) -> None:
    if not values:
        raise InputError(f"metadata {key!r} is an empty list: Chroma refuses it")
    for value in values:
        _check_scalar(key, value)
    if len({type(value) for value in values}) > 1:
        raise InputError(f"metadata {key!r} is a list of several types: Chroma refuses it")


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8; JSON can smuggle in lone surrogates, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def metadata_json(metadata: Metadata | None) -> str | None:
    """Canonical JSON: sorted keys, no spaces, no ASCII escaping. None if there is no metadata."""
    if metadata is None:
        return None
    return CANONICAL.encode(metadata)


def parse_metadata(text: str | None) -> dict[str, Any] | None:
    """The inverse of `metadata_json`."""
    return None if text is None else cast(dict[str, Any], json.loads(text))


def record_hash(record_id: str, vector: bytes, document: str | None, metadata: str | None) -> bytes:
    """32 bytes that are equal for equal records. `vector` is little-endian float32, `metadata` canonical JSON."""
    pieces: list[bytes] = []
    for part in (record_id.encode(), vector, _utf8(document), _utf8(metadata)):
        pieces += (ABSENT,) if part is None else (_LENGTH.pack(len(part)), part)
    return hashlib.sha256(b"".join(pieces)).digest()


def _utf8(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def content_digest(hashes_in_id_order: Iterable[bytes]) -> str:
    """Lower-case hex sha256 over the records' hashes in order of the UTF-8 bytes of their ids."""
    digest = hashlib.sha256()
    for value in hashes_in_id_order:
        digest.update(value)
    return digest.hexdigest()


def text_sha256(text: str, model: str, dimensions: int | None) -> bytes:
    """32 bytes that are equal for equal texts asked of the same model with the same dimensions (None: its own)."""
    parts = json.dumps([text, model, dimensions], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(parts.encode()).digest()


def input_sha256(text: str, document: str | None, metadata: str | None, model: str, dimensions: int | None) -> str:
    """What was asked of the model for one record, as hex: equal means that nothing would change."""
    parts = [text, document, metadata, model, dimensions]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
