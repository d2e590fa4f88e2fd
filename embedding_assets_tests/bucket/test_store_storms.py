"""S3 that throttles, breaks off in the middle of a body, or refuses checksums."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import IncompleteReadError, ResponseStreamingError
from botocore.parsers import ResponseParserError

from embedding_assets.bucket.store import Store
from embedding_assets.errors import NotFoundError, ServiceError, TransientError
from embedding_assets.local.stack import EmbeddedStack

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
TRIES = 6


@pytest.fixture
def own(stack: EmbeddedStack, store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The bucket, through clients that the store makes itself."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return Store(store.bucket)


class Raw(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self, *sizes: int, **options: object) -> Any:
        """All of it."""
        yield self.read()


def answer_first(store: Store, times: int, status: int, body: bytes, **headers: str) -> list[AWSRequest]:
    """The first `times` requests get this answer; the list has all that were sent."""
    sent: list[AWSRequest] = []

    def respond(request: AWSRequest, **event: object) -> AWSResponse | None:
        sent.append(request)
        if len(sent) > times:
            return None
        return AWSResponse(str(request.url), status, _headers(headers), Raw(body))

    events: Any = store._client.meta.events
    events.register("before-send.s3", respond)
    return sent


def _headers(values: dict[str, str]) -> HTTPHeaders:
    headers = HTTPHeaders()
    for name, value in values.items():
        headers[name] = value
    return headers


def test_slow_down_halves_what_runs_at_once_and_successes_grow_it(own: Store) -> None:
    """boto3 tries again by itself; the store sees each refusal."""
    own.put("key", b"value")
    sent = answer_first(own, 2, 503, SLOW_DOWN)
    most = own._limit.most
    assert own.get("key") == b"value"
    assert len(sent) == 3
    assert most // 4 <= own._limit.window <= most // 4 + 1
    for _ in range(3 * most):
        own._limit.succeeded()
    assert own._limit.window > most // 4 + 1


def test_retry_after_is_waited_for(own: Store) -> None:
    """The next try, and every other call, begins no earlier."""
    own.put("key", b"value")
    pauses: list[float] = []
    sent = answer_first(own, 1, 503, SLOW_DOWN, **{"retry-after": "0.4"})
    own._client.meta.events.register_last(
        "response-received.s3", lambda **event: pauses.append(own._limit.pause_seconds)
    )
    assert own.get("key") == b"value"
    assert len(sent) == 2
    assert 0.2 < pauses[0] <= 0.4
    assert own._limit.pause_seconds == 0


def test_a_storm_costs_a_bounded_number_of_calls(own: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tries, not six times three, and an error that says that S3 was throttled."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    sent = answer_first(own, 10**6, 503, SLOW_DOWN)
    with pytest.raises(TransientError, match="SlowDown") as raised:
        own.get("key")
    assert raised.value.throttled
    assert len(sent) == TRIES
    assert own._limit.window <= own._limit.most // 2


class Breaking:
    """A client whose first bodies break off; everything else is passed on."""

    def __init__(self, client: Any, breaks: int, error: Callable[[], Exception]) -> None:
        self._client = client
        self.left = breaks
        self._error = error
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **request: Any) -> Any:
        answer = self._client.get_object(**request)
        self.asked += 1
        if self.left:
            self.left -= 1
            answer["Body"] = _BrokenBody(self._error)
        return answer

    def list_objects_v2(self, **request: Any) -> Any:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise self._error()
        return self._client.list_objects_v2(**request)


class _BrokenBody:
    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error
        self.closed = False

    def read(self, amount: int | None = None) -> bytes:
        raise self._error()

    def close(self) -> None:
        self.closed = True


BREAKS: dict[str, Callable[[], Exception]] = {
    "cut": lambda: IncompleteReadError(actual_bytes=1, expected_bytes=2),
    "reset": lambda: ResponseStreamingError(error="reset by peer"),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_body_that_breaks_off_is_read_again(store: Store, tmp_path: Path, kind: str) -> None:
    """Whole objects and files alike; a third time is one too many."""
    store.put("key", b"value")
    for breaks, comes in ((1, True), (2, True), (3, False)):
        for read in (lambda one: one.get("key"), lambda one: _downloaded(one, tmp_path)):
            client: Any = Breaking(store._client, breaks, BREAKS[kind])
            broken = Store(store.bucket, client, client)
            if comes:
                assert read(broken) == b"value"
            else:
                with pytest.raises(TransientError):
                    read(broken)
            assert client.asked == min(breaks + 1, 3)


def _downloaded(store: Store, folder: Path) -> bytes:
    store.download_file("key", folder / "file")
    return (folder / "file").read_bytes()


def test_a_page_that_breaks_off_is_read_again(store: Store) -> None:
    """A list whose XML ends early; nothing is listed twice or left out."""
    for number in range(3):
        store.put(f"key-{number}", b"")
    client: Any = Breaking(store._client, 2, lambda: ResponseParserError("no element found"))
    listed = [entry.key for entry in Store(store.bucket, client, client).list("key-")]
    assert listed == ["key-0", "key-1", "key-2"]
    assert client.asked == 3


def test_a_missing_object_is_asked_for_once(store: Store) -> None:
    """That is an answer."""
    client: Any = Breaking(store._client, 0, BREAKS["cut"])
    with pytest.raises(NotFoundError):
        Store(store.bucket, client, client).get("missing")
    assert client.asked == 0


@pytest.mark.parametrize(("code", "kind"), [("SlowDown", TransientError), ("AccessDenied", ServiceError)])
def test_a_deletion_that_was_throttled_may_pass(code: str, kind: type[Exception]) -> None:
    """DeleteObjects answers 200 and tells for each key why it is still there."""

    class Refusing:
        def delete_objects(self, **request: Any) -> Any:
            return {"Errors": [{"Key": "key", "Code": code, "Message": "no"}]}

    client: Any = Refusing()
    with pytest.raises(kind, match=code):
        Store("bucket", client, client).delete(["key"])


def test_no_checksum_is_sent_that_was_not_asked_for(own: Store, tmp_path: Path) -> None:
    """Stores that are not Amazon's refuse them; the product has its own sha256."""
    sent = answer_first(own, 0, 200, b"")
    own.put("key", b"value")
    (tmp_path / "file").write_bytes(b"value")
    own.upload_file(tmp_path / "file", "file")
    own.get("key")
    assert len(sent) == 3
    headers = {name.lower() for request in sent for name in request.headers}
    assert [name for name in headers if "checksum" in name or name == "x-amz-trailer"] == []
