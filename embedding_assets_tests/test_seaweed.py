"""The second S3 server: a process that starts, is ours alone, and ends; and a whole merge on it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedding_assets.bucket.aws import s3_client
from embedding_assets.bucket.keys import changes_key, pointer_key, versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import NotFoundError, PreconditionError, ServiceError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.versions.manifest import chain
from embedding_assets.versions.publish import commit
from embedding_assets.versions.receipts import receipt_key
from embedding_assets_tests import seaweed as seaweed_module
from embedding_assets_tests.conftest import SeaweedClients
from embedding_assets_tests.deltas import at, record, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.reference import reference_digest
from embedding_assets_tests.seaweed import HOST, Seaweed, free_ports

START_AND_WAIT = """
from embedding_assets_tests.seaweed import Seaweed
with Seaweed() as server:
    print(server.url, flush=True)
    input()
"""
END_SECONDS = 10


@pytest.fixture
def seaweed_store(seaweed: SeaweedClients) -> Store:
    """A bucket of this test's own."""
    return seaweed.own_bucket()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=END_SECONDS)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT], ids=lambda one: one.name)
def test_it_ends_with_whoever_started_it(ending: signal.Signals, tmp_path: Path) -> None:
    """Also if that one has no time to say so; its data go with it."""
    root = str(Path(seaweed_module.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
    ) as starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline().rsplit(b":", 1)[1])
        assert answers(port)
        assert list(tmp_path.iterdir())
        starter.send_signal(ending)
        starter.wait(END_SECONDS)
    deadline = time.monotonic() + END_SECONDS
    while answers(port) or list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_start_that_fails_is_told_with_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port is taken: the error names it, and nothing is left running."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(seaweed_module, "free_ports", lambda count: [taken, *free_ports(count - 1)])
        with pytest.raises(ServiceError, match=f"ended at start with [^0].*{taken}"), Seaweed():
            pass


def test_wrong_keys_are_refused(seaweed_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto lets anyone in: here a refusal is seen to be no missing object."""
    endpoint = seaweed_store._client.meta.endpoint_url
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed_module.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
    stranger = Store(seaweed_store.bucket, s3_client(), s3_client(retries=False))
    with pytest.raises(ServiceError, match="SignatureDoesNotMatch") as raised:
        stranger.find("key")
    assert not isinstance(raised.value, NotFoundError)


def test_where_keys_are_not_those_of_s3(seaweed_store: Store) -> None:
    """SeaweedFS keeps objects as files in folders. No key of ours needs what it takes otherwise than S3.

    `\\` and several `/` become one `/`; `.` and `..` are refused as names; a name has at most 255 bytes;
    a folder cannot be created beside what is in it, and nothing is kept in a key that ends in `/`.
    """
    for key in ("back\\slash", "two//slashes"):
        seaweed_store.put(key, b"x")
    assert [entry.key for entry in seaweed_store.list("")] == ["back/slash", "two/slashes"]
    for key in ("a/./b", "a/../b", "n" * 256):
        with pytest.raises(ServiceError):
            seaweed_store.put(key, b"x")
    with pytest.raises(PreconditionError):
        seaweed_store.create("back", b"x")
    seaweed_store.put("folder/", b"lost")
    assert seaweed_store.get("folder/") == b""


def test_a_whole_merge(seaweed_store: Store, ledger: Ledger, tmp_path: Path) -> None:
    """Deltas, chunks and groups in both formats, two versions: published, read back, fenced off, nothing more."""
    bench = Workbench(seaweed_store, ledger, tmp_path, chunk_size=2)
    old = records("a", 30)
    results = [
        bench.batch(f"b{n}", old[n * 6 : n * 6 + 6], at(n), "chroma" if n == 2 else "arrow") for n in range(5)
    ]
    first = bench.merge(results, 1, group_size=2)
    assert (first.added, first.updated, first.unchanged, first.total_embeddings) == (30, 0, 0, 30)
    assert bench.published() == {one.id: one for one in old}
    base = bench.pointer()

    newer = [record("a1", 50, "new", {"other": "keys"}), old[3], *records("n", 2, 60)]
    second = bench.merge([bench.batch("c1", newer, at(9))], 2, "chroma")
    assert (second.added, second.updated, second.unchanged, second.total_embeddings) == (2, 1, 1, 32)
    wanted = {one.id: one for one in [*old, *newer]}
    manifest = bench.pointer().manifest
    assert bench.published() == wanted
    assert bench.published(base.manifest) == {one.id: one for one in old}
    assert manifest.content_digest == reference_digest(wanted.values())
    assert [one.version for one in chain(bench.store, LINES, manifest)] == [
        second.snapshot_version,
        first.snapshot_version,
    ]
    versions = [manifest, base.manifest]
    assert bench.keys("lines/snapshot/") == {
        pointer_key(LINES),
        *(f"{versions_prefix(LINES)}{one.version}/manifest.json" for one in versions),
        *(changes_key(LINES, one.version) for one in versions),
        *(receipt_key(LINES, one.execution_id, one.inputs_digest) for one in versions),
        *(file.key for one in versions for file in one.files),
    }
    late = manifest.model_copy(update={"version": "2-late", "commit_id": "late", "parent": base.manifest.version})
    with pytest.raises(PreconditionError, match=manifest.version):
        commit(bench.store, LINES, late, base)
    assert bench.pointer().manifest == manifest
