"""An S3 client whose answers get lost: for the one write that publishes a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ReadTimeoutError

from embedding_assets.bucket.store import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Step = Callable[[str], None]


def nothing(key: str) -> None:
    """Do nothing at this point."""


def lose(key: str) -> None:
    """The connection breaks."""
    raise ReadTimeoutError(endpoint_url="http://s3")


class FaultyPuts:
    """Passes `put_object` on; `before` and `after` each are called, once per planned fault, around it."""

    def __init__(self, client: S3Client, only: str) -> None:
        self._client = client
        self._only = only
        self.plan: list[tuple[Step, Step]] = []
        self.sent = 0

    def put_object(self, **request: Any) -> Any:
        """Write as planned."""
        if request["Key"] != self._only:
            return self._client.put_object(**request)
        self.sent += 1
        before, after = self.plan.pop(0) if self.plan else (nothing, nothing)
        before(request["Key"])
        answer = self._client.put_object(**request)
        after(request["Key"])
        return answer


def faulty_store(store: Store, only: str, *plan: tuple[Step, Step]) -> tuple[Store, FaultyPuts]:
    """The same bucket, in which conditional writes of the key `only` meet `plan`, one entry each."""
    puts = FaultyPuts(store._single_try, only)
    puts.plan = list(plan)
    return Store(store.bucket, store._client, cast("S3Client", puts)), puts
