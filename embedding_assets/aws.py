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
from botocore.credentials import Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.loaders import Loader, create_loader

from embedding_assets.credentials import check_credentials
from embedding_assets.errors import NotFoundError, PreconditionError, ServiceError, SettingsError, TransientError
from embedding_assets.redaction import remember_secret

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


def s3_client(*, retries: bool = True) -> S3Client:
    """An S3 client. Without `retries` the SDK sends each request once: for conditional writes."""
    session = _session()
    with _usable_settings():
        client = session.client("s3", config=_config(retries))
    _remember_credentials(session)
    return client


def dynamodb_client() -> DynamoDBClient:
    """A DynamoDB client. Raises ServiceError where no region is configured."""
    session = _session()
    with translated("DynamoDB"), _usable_settings():
        client = session.client("dynamodb", config=_config(retries=True))
    _remember_credentials(session)
    return client


def _session() -> boto3.session.Session:
    """A session of its own credentials that shares what botocore's data files say: parsing them takes longest."""
    check_credentials()
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return boto3.session.Session(botocore_session=core)


@contextmanager
def _usable_settings() -> Iterator[None]:
    """What botocore raises for an endpoint that is no URL is no error of botocore's own."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"boto3 cannot use its settings (AWS_*): {_plain(error)}") from None


def _remember_credentials(session: boto3.session.Session) -> None:
    """Those of a file are secrets that no variable holds. Credentials that are renewed stay where they are."""
    credentials = session.get_credentials()
    if type(credentials) is Credentials and credentials.method != "env":
        for value in (credentials.access_key, credentials.secret_key, credentials.token):
            remember_secret(value)


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


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Raise botocore's errors as ours; `subject` says in words what was read or written.

    Without their causes: those quote endpoints with their passwords, headers, and whatever a server answered.
    Dagster stores causes.
    """
    try:
        yield
    except ClientError as error:
        raise _from_client_error(subject, error) from None
    except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
        raise TransientError(f"{subject}: {_plain(error)}") from None
    except S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, ClientError):
            raise _from_client_error(subject, cause) from None
        raise TransientError(f"{subject}: {_plain(error)}") from None
    except (BotoCoreError, Boto3Error) as error:
        raise ServiceError(f"{subject}: {_plain(error)}") from None


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
