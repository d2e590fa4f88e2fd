"""The files of a version as its manifest names them: each one object, or parts that are put together."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from embedding_assets.rows.safe_files import MOST_FILES
from embedding_assets.rows.snapshot_directory import FileEntry

LARGEST_ROW = 2**20
"""Bytes of a row of a file that is kept in parts: more than any vector and its links have."""


class Part(BaseModel):
    """One object that is a part of a file. `key` is a whole bucket key."""

    model_config = ConfigDict(frozen=True)

    key: str
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SplitRows(BaseModel):
    """How a file of equal rows is kept in parts.

    Of each row of `stride` bytes the `size` bytes from `start` on are in `vectors`, one segment after the other,
    and all other bytes in `rest`, in their order.
    """

    model_config = ConfigDict(frozen=True)

    stride: Annotated[int, Field(gt=0, le=LARGEST_ROW)]
    start: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(gt=0)]
    rest: Part
    vectors: Annotated[tuple[Part, ...], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.start + self.size > self.stride:
            raise ValueError("the vector is not inside the row")
        return self


class VersionFile(FileEntry):
    """One file of a version. `key` is a whole bucket key, under this version's prefix or an older one's.

    `size` and `sha256` are the file's own, also if it is kept in parts (`split`); then `key` is that of the rest.
    """

    key: str
    split: SplitRows | None = None

    @property
    def objects(self) -> tuple[tuple[str, int], ...]:
        """Keys and sizes of all objects that the file is made of."""
        if self.split is None:
            return ((self.key, self.size),)
        return tuple((part.key, part.size) for part in (self.split.rest, *self.split.vectors))

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """A file that is one object says nothing of parts."""
        document: dict[str, object] = handler(self)
        if self.split is None:
            document.pop("split", None)
        return document
