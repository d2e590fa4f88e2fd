"""The AWS boundary: botocore's errors become ours there, and passing is told from lasting."""

from __future__ import annotations

import pytest
import urllib3.exceptions
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from embedding_assets.bucket.aws import dynamodb_client, translated
from embedding_assets.bucket.store import Store
from embedding_assets.errors import ItemError, NotFoundError, PreconditionError, ServiceError, TransientError


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "the message"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("NoSuchKey", 404), NotFoundError),
        (client_error("404", 404), NotFoundError),
        (client_error("NoSuchBucket", 404), ServiceError),
        (client_error("ResourceNotFoundException"), ServiceError),
        (client_error("AccessDenied", 403), ServiceError),
        (client_error("ValidationException"), ItemError),
        (client_error("PreconditionFailed", 412), PreconditionError),
        (client_error("ConditionalRequestConflict", 409), PreconditionError),
        (client_error("ConditionalCheckFailedException"), PreconditionError),
        (client_error("SlowDown", 503), TransientError),
        (client_error("ThrottlingException"), TransientError),
        (client_error("ProvisionedThroughputExceededException"), TransientError),
        (client_error("RequestLimitExceeded"), TransientError),
        (client_error("TransactionConflictException"), TransientError),
        (client_error("InternalError", 500), TransientError),
        (client_error("Unheard", 502), TransientError),
        (client_error("Unheard", 429), TransientError),
        (EndpointConnectionError(endpoint_url="http://x"), TransientError),
        (ReadTimeoutError(endpoint_url="http://x"), TransientError),
        (ResponseStreamingError(error="cut"), TransientError),
        (NoCredentialsError(), ServiceError),
        (NoRegionError(), ServiceError),
        (ParamValidationError(report="two\nlines"), ServiceError),
        (S3UploadFailedError("cut"), TransientError),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_errors_are_ours(error: Exception, kind: type[Exception]) -> None:
    """Exactly this kind, in one line that says what was done; without a cause, which Dagster would store."""
    with pytest.raises(kind) as raised, translated("reading s3://bucket/key"):
        raise error
    assert type(raised.value) is kind
    assert str(raised.value).startswith("reading s3://bucket/key: ")
    assert len(str(raised.value).splitlines()) == 1
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("code", "kind"),
    [("NoSuchBucket", ServiceError), ("SlowDown", TransientError), ("AccessDenied", ServiceError)],
)
def test_a_failed_upload_is_what_failed_it(code: str, kind: type[Exception]) -> None:
    """boto3's transfer manager wraps the cause: the cause counts."""
    wrapper = S3UploadFailedError("failed")
    wrapper.__context__ = client_error(code)
    with pytest.raises(kind, match=code), translated("uploading"):
        raise wrapper


def test_without_a_region_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the making of the client, as our error."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ServiceError, match="region"):
        dynamodb_client()


def test_nobody_at_the_endpoint_is_passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what keeps these tests from any real cloud: the default endpoint is a port where nobody listens."""
    monkeypatch.setattr("embedding_assets.bucket.aws._config", lambda retries: None)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9"):
        Store("bucket").get("key")


def test_an_answer_that_breaks_off_in_its_body_may_be_read_again() -> None:
    """botocore lets urllib3's own error through: it counts against nobody, and a body is read again."""
    with pytest.raises(TransientError, match=r"listing: .*Connection broken") as raised, translated("listing"):
        raise urllib3.exceptions.ProtocolError("Connection broken", ConnectionResetError(104, "reset"))
    assert raised.value.broke_off
