"""What the embedded S3 and DynamoDB hold, kept in a folder: an object is a file, all tables are one.

Nothing here runs beside a request, so what is saved is one moment of both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends

from embedding_assets.local.keeping import read_pickle, write_pickle

REGION = "us-east-1"
PARTITION = "aws"
INDEX_FILE = "aws.pickle"
OBJECTS = "objects"
READING = ("Get", "Query", "Scan", "BatchGet", "Describe", "List")
"""How the names of DynamoDB's actions begin that change nothing."""


@dataclass
class KeptAws:
    """The buckets and tables of moto, and their folder."""

    folder: Path
    changed: bool = False
    _files: set[str] = field(default_factory=set)

    def note(self, environ: Mapping[str, Any]) -> None:
        """A request was answered: remember whether it may have changed anything."""
        action = str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD") or action.startswith(READING)
        self.changed = self.changed or not reads

    def load(self) -> None:
        """Put back what was saved, if anything was. Raises InputError if that cannot be read."""
        (self.folder / OBJECTS).mkdir(parents=True, exist_ok=True)
        found = read_pickle(self.folder / INDEX_FILE) or {"tables": {}, "buckets": {}}
        dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables.update(found["tables"])
        s3 = s3_backends[DEFAULT_ACCOUNT_ID][PARTITION]
        for name, files in found["buckets"].items():
            bucket = s3.create_bucket(name, REGION)
            for file in files:
                key = read_pickle(self.folder / OBJECTS / file)
                bucket.keys[key.name] = key
                self._files.add(file)
        self._sweep()

    def save(self) -> None:
        """Save what changed since the last time."""
        if not self.changed:
            return
        buckets = {
            name: [self._save_object(key) for key in bucket.keys.values()]
            for name, bucket in s3_backends[DEFAULT_ACCOUNT_ID][PARTITION].buckets.items()
        }
        tables = dict(dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables)
        write_pickle(self.folder / INDEX_FILE, {"tables": tables, "buckets": buckets})
        self.changed = False
        self._files = {file for files in buckets.values() for file in files}
        self._sweep()

    def _save_object(self, key: Any) -> str:
        identity = f"{key.bucket_name}/{key.name}\n{key.etag}\n{key.last_modified.isoformat()}"
        file = hashlib.sha256(identity.encode()).hexdigest()
        if file not in self._files:
            write_pickle(self.folder / OBJECTS / file, key)
            self._files.add(file)
        return file

    def _sweep(self) -> None:
        """Delete the files of objects that are gone."""
        for path in (self.folder / OBJECTS).iterdir():
            if path.name not in self._files:
                path.unlink()
