"""A file of equal rows kept in parts: the vectors of its rows in segments that never change, and the rest whole.

In the graph's file each row has a vector, which never changes, between links, which change with each merge. In
parts, only the segments that are new are uploaded; the others lie where an older version put them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedding_assets.bucket.store import Store
from embedding_assets.errors import DamagedError
from embedding_assets.rows.snapshot_directory import FileEntry, download_verified, file_sha256, matches
from embedding_assets.versions.version_files import Part, SplitRows, VersionFile

SEGMENT_BYTES = 8 * 2**20
"""About how many bytes of vectors a segment has."""
FOLDER = "split/"
"""Below a version's prefix: what its files were taken apart into."""

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class RowLayout:
    """A row has `stride` bytes; its vector has `size` of them, from `start` on."""

    stride: int
    start: int
    size: int

    @property
    def rows_a_segment(self) -> int:
        """Rows whose vectors are in one segment."""
        return max(1, SEGMENT_BYTES // self.size)


def take_apart(
    path: Path,
    entry: FileEntry,
    layout: RowLayout,
    folder: Path,
    prefix: str,
    there: Mapping[tuple[int, str], str],
) -> tuple[VersionFile, list[tuple[Path, str]]]:
    """Write the parts of a file below `folder`; the file as the manifest names it, and what is to be uploaded.

    `prefix` is that of the version. `there` has the keys of segments that are in the bucket, by size and sha256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uploads: list[tuple[Path, str]] = []
    vectors: list[Part] = []
    key = f"{prefix}{FOLDER}{entry.path}"
    rest_path = folder / "rest"
    with path.open("rb") as stream, rest_path.open("wb") as rest:
        rows = entry.size // layout.stride
        for number, first in enumerate(range(0, rows, layout.rows_a_segment)):
            count = min(layout.rows_a_segment, rows - first)
            table = np.frombuffer(stream.read(count * layout.stride), np.uint8).reshape(count, layout.stride)
            segment = table[:, layout.start : layout.start + layout.size].tobytes()
            rest.write(np.delete(table, slice(layout.start, layout.start + layout.size), axis=1).tobytes())
            sha256 = hashlib.sha256(segment).hexdigest()
            known = there.get((len(segment), sha256))
            segment_key = known or f"{key}.vectors-{number}"
            if known is None:
                segment_path = folder / f"vectors-{number}"
                segment_path.write_bytes(segment)
                uploads.append((segment_path, segment_key))
            vectors.append(Part(key=segment_key, size=len(segment), sha256=sha256))
        rest.write(stream.read())
    uploads.append((rest_path, key))
    split = SplitRows(
        stride=layout.stride,
        start=layout.start,
        size=layout.size,
        rest=Part(key=key, size=rest_path.stat().st_size, sha256=file_sha256(rest_path)),
        vectors=tuple(vectors),
    )
    return VersionFile(key=key, split=split, **entry.model_dump()), uploads


def bring(store: Store, files: Sequence[VersionFile], directory: Path, progress: OnBytes | None = None) -> None:
    """Bring files of a version to `directory`, those that are kept apart put together, each of them checked.

    Raises what `download_verified` raises; DamagedError also if the parts do not make the file.
    """
    download_verified(store, [(file, file.key) for file in files if file.split is None], directory, progress)
    for file in files:
        if file.split is not None:
            _put_together(store, file, file.split, directory)
            if progress is not None:
                progress(file.size)


def _put_together(store: Store, file: VersionFile, split: SplitRows, directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="embedding-assets-parts-") as name:
        folder = Path(name)
        parts = (split.rest, *split.vectors)
        entries = [
            (FileEntry(path=str(number), size=part.size, sha256=part.sha256), part.key)
            for number, part in enumerate(parts)
        ]
        download_verified(store, entries, folder)
        target = directory / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as sink:
            for block in _rows(split, folder):
                sink.write(block)
        if not matches(target, file):
            raise DamagedError(f"the parts of {store.uri(file.key)} do not make the file of the manifest (sha256)")


def _rows(split: SplitRows, folder: Path) -> Iterator[bytes]:
    width = split.stride - split.size
    with (folder / "0").open("rb") as rest:
        for number, part in enumerate(split.vectors, 1):
            rows = part.size // split.size
            table = np.empty((rows, split.stride), np.uint8)
            others = np.frombuffer(rest.read(rows * width), np.uint8)
            if rows * split.size != part.size or others.size != rows * width:
                raise DamagedError("the parts of a file do not have the same number of rows")
            others = others.reshape(rows, width)
            table[:, : split.start] = others[:, : split.start]
            vectors = np.fromfile(folder / str(number), np.uint8).reshape(rows, split.size)
            table[:, split.start : split.start + split.size] = vectors
            table[:, split.start + split.size :] = others[:, split.start :]
            yield table.tobytes()
        yield rest.read()
