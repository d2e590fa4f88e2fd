"""A collection on a Chroma server or Chroma Cloud, with the same operations as on a directory.

A record is replaced by deleting and adding it: an update that follows a deletion may leave the old vector in the
graph, and an upsert that follows one may lose the new one (chromadb 1.5.9).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import chromadb
import httpx
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError

from embedding_assets.chroma.collection import ChromaRows, Collection, Space, all_ids, read_rows
from embedding_assets.errors import InputError, ServiceError, TransientError

TOKEN_HEADER = "x-chroma-token"
MOST_AT_ONCE = 1_000
"""Records in one call, unless the server allows fewer: a call then takes a second, not a minute."""
CLOUD = "trychroma.com"
MOST_AT_ONCE_IN_CLOUD = 300
"""Records that one call to Chroma Cloud may write or get (docs.trychroma.com/cloud/quotas-limits)."""
CLOUD_QUOTAS = (
    "documents up to 16,384 bytes, ids up to 128, 32 metadata keys of up to 36 bytes, values up to 4,096"
)
"""What else Chroma Cloud allows of a record, unless an account has more (from the same page)."""


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is. `token` is sent in Chroma's header."""

    host: str
    port: int
    ssl: bool
    tenant: str
    database: str
    token: str | None = None

    @property
    def in_cloud(self) -> bool:
        """Whether it is Chroma Cloud, which has quotas that it does not tell."""
        return self.host == CLOUD or self.host.endswith(f".{CLOUD}")

    def most_at_once(self, announced: int) -> int:
        """How many records go into one call to a server that announces `announced` as its limit."""
        return min(announced, MOST_AT_ONCE_IN_CLOUD if self.in_cloud else MOST_AT_ONCE)

    @property
    def shown(self) -> str:
        """For a person, without the token."""
        scheme = "https" if self.ssl else "http"
        return f"{scheme}://{self.host}:{self.port}/{self.tenant}/{self.database}"


@dataclass(frozen=True)
class ServerCollection:
    """One collection on a server. A method raises TransientError or ServiceError if the server does not do it."""

    address: ServerAddress
    most_at_once: int
    _collection: Collection

    def ids(self) -> Iterator[str]:
        """Every id."""
        with _translated(self.address):
            yield from all_ids(self._collection, self.most_at_once)

    def rows(self, ids: Sequence[str]) -> Iterator[ChromaRows]:
        """The rows with these ids that are there, some at a time."""
        for start in range(0, len(ids), self.most_at_once):
            with _translated(self.address):
                yield from read_rows(self._collection, ids[start : start + self.most_at_once])

    def there(self, ids: Sequence[str]) -> list[str]:
        """Those of these ids that are there."""
        with _translated(self.address):
            found: list[str] = self._collection.get(ids=list(ids), include=[])["ids"]
        return found

    def delete(self, ids: Sequence[str]) -> None:
        """Remove records; ids that are not there are passed over."""
        for start in range(0, len(ids), self.most_at_once):
            with _translated(self.address):
                self._collection.delete(ids=list(ids[start : start + self.most_at_once]))

    def add(self, rows: ChromaRows) -> None:
        """Add records whose ids are not there, at most `most_at_once`."""
        add: Any = self._collection.add
        with _translated(self.address):
            add(ids=rows.ids, embeddings=rows.vectors, documents=rows.documents, metadatas=rows.metadata)

    def count(self) -> int:
        """How many records there are."""
        with _translated(self.address):
            return int(self._collection.count())


def open_server(address: ServerAddress, name: str, space: Space) -> ServerCollection:
    """The collection `name` on the server, made if it is not there.

    Raises TransientError if the server cannot be reached, ServiceError if it refuses, InputError if the collection
    is there with another distance.
    """
    with _translated(address):
        client = _client(address)
        most = int(client.get_max_batch_size())
        collection = client.get_or_create_collection(
            name, embedding_function=None, configuration={"hnsw": {"space": space}}
        )
        found = (collection.configuration.get("hnsw") or collection.configuration.get("spann") or {}).get("space")
    if found not in (None, space):
        raise InputError(f"the collection {name} on {address.shown} has the distance {found}, not {space}")
    return ServerCollection(address, address.most_at_once(most), collection)


def reach(address: ServerAddress) -> tuple[str, int]:
    """The server's version, and how many records it takes in one call. Raises as `open_server` does."""
    with _translated(address):
        client = _client(address)
        return str(client.get_version()), int(client.get_max_batch_size())


def _client(address: ServerAddress) -> Any:
    return chromadb.HttpClient(
        host=address.host,
        port=address.port,
        ssl=address.ssl,
        headers={TOKEN_HEADER: address.token} if address.token else None,
        tenant=address.tenant,
        database=address.database,
        settings=ChromaSettings(anonymized_telemetry=False),
    )


@contextmanager
def _translated(address: ServerAddress) -> Iterator[None]:
    where = f"the Chroma server {address.shown}"
    try:
        yield
    except (httpx.TransportError, ConnectionError, TimeoutError) as error:
        raise TransientError(f"{where} cannot be reached: {type(error).__name__}") from error
    except (ChromaError, httpx.HTTPError) as error:
        raise ServiceError(f"{where}: {' '.join(str(error).split())}") from error
    except ValueError as error:  # chromadb's own for a server that it cannot connect to
        if "connect" not in str(error).lower():
            raise ServiceError(f"{where}: {' '.join(str(error).split())}") from error
        raise TransientError(f"{where} cannot be reached") from error
