"""boto3 clients, and the one boundary at which botocore's errors become ours."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
import botocore.session
from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.loaders import Loader, create_loader

from embedding_assets.errors import NotFoundError, PreconditionError, ServiceError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
PRECONDITION = frozenset(
    {"412", "PreconditionFailed", "ConditionalCheckFailedException", "ConditionalRequestConflict", "409"}
)
THROTTLED = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "Throttling",
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionConflictException",
        "InternalError",
        "InternalServerError",
        "ServiceUnavailable",
    }
)

MAX_CONNECTIONS = 64
"""Connections a client keeps open; the polling threads share one client."""

TIMEOUTS_A_LEASE = 12
"""A renewal that is not answered is given up after this part of the lease: connecting, and reading, each."""
LEAST_TIMEOUT_SECONDS = 0.5


def s3_client(*, retries: bool = True) -> S3Client:
    """An S3 client. Without `retries` the SDK sends each request once: for conditional writes."""
    return _session().client("s3", config=_config(retries))


def dynamodb_client(*, lease_seconds: float | None = None) -> DynamoDBClient:
    """A DynamoDB client. Raises ServiceError if no region is configured.

    With `lease_seconds` it is one that renews a lease of that length: it gives up well before the lease is over,
    and sends each request once, since the heartbeat itself tries again.
    """
    config = _config(retries=True) if lease_seconds is None else _lease_config(lease_seconds)
    with translated("DynamoDB"):
        return _session().client("dynamodb", config=config)


def _session() -> boto3.session.Session:
    """A session of its own credentials that shares what botocore's data files say: parsing them takes longest."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return boto3.session.Session(botocore_session=core)


@functools.cache
def _loader(data_path: str | None) -> Loader:
    return create_loader(data_path)


def _config(retries: bool) -> Config:
    return Config(
        retries={"total_max_attempts": 6 if retries else 1, "mode": "standard"},
        max_pool_connections=MAX_CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
    )


def _lease_config(lease_seconds: float) -> Config:
    seconds = max(LEAST_TIMEOUT_SECONDS, lease_seconds / TIMEOUTS_A_LEASE)
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=2,
        connect_timeout=seconds,
        read_timeout=seconds,
    )


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Raise botocore's errors as ours; `subject` says in words what was read or written."""
    try:
        yield
    except ClientError as error:
        raise _from_client_error(subject, error) from error
    except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
        raise TransientError(f"{subject}: {_plain(error)}") from error
    except S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, ClientError):
            raise _from_client_error(subject, cause) from error
        raise TransientError(f"{subject}: {_plain(error)}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise ServiceError(f"{subject}: {_plain(error)}") from error


def _from_client_error(subject: str, error: ClientError) -> ServiceError | TransientError:
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = f"{subject}: {code} {details.get('Message', '')}".rstrip()
    if code in PRECONDITION or status in (409, 412):
        return PreconditionError(message)
    if code in NOT_FOUND:
        return NotFoundError(f"{subject}: not found")
    if code in THROTTLED or status == 429 or status >= 500:
        return TransientError(message)
    return ServiceError(message)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())
