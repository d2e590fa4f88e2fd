"""boto3 clients, and the one boundary at which botocore's errors become ours."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import urllib3.exceptions
from boto3.exceptions import Boto3Error, RetriesExceededError, S3UploadFailedError
from botocore.awsrequest import AWSRequest
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
from botocore.parsers import ResponseParserError

from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.calls.credentials import check_credentials
from embedding_assets.calls.retry_after import retry_after_seconds
from embedding_assets.errors import (
    ItemError,
    NotFoundError,
    PreconditionError,
    ServiceError,
    SettingsError,
    TransientError,
)
from embedding_assets.text.bounded_text import bounded
from embedding_assets.text.redaction import remember_secret
from embedding_assets.tls import check_addresses

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
PRECONDITION = frozenset(
    {"412", "PreconditionFailed", "ConditionalCheckFailedException", "ConditionalRequestConflict", "409"}
)
REFUSED_ITEM = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})
"""DynamoDB's codes for a request that it does not take, an item of more than 400 KB say."""
THROTTLED = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TooManyRequests",
    }
)
"""Codes by which a service asks for fewer calls."""
PASSING = THROTTLED | {"RequestTimeout", "TransactionConflictException", "InternalError", "InternalServerError"}
THROTTLED_STATUSES = frozenset({429, 503})

ENDPOINT = "the endpoint in boto3's configuration"
"""Of a profile in AWS's configuration file, say: variables are checked by their names before."""

MAX_CONNECTIONS = 64
"""Connections a client keeps open; the polling threads share one client."""

TIMEOUTS_A_LEASE = 12
"""A renewal that is not answered is given up after this part of the lease: connecting, and reading, each."""
LEAST_TIMEOUT_SECONDS = 0.5


def s3_client(*, retries: bool = True) -> S3Client:
    """An S3 client. Without `retries` the SDK sends each request once: for conditional writes."""
    session = _session()
    with _usable_settings():
        client = session.client("s3", config=_config(retries))
    check_addresses(ENDPOINT, client.meta.endpoint_url)
    _remember_credentials(session)
    return client


def dynamodb_client(*, lease_seconds: float | None = None) -> DynamoDBClient:
    """A DynamoDB client. Raises ServiceError if no region is configured.

    With `lease_seconds` it is one that renews a lease of that length: it gives up well before the lease is over,
    and sends each request once, since the heartbeat itself tries again.
    """
    config = _config(retries=True) if lease_seconds is None else _lease_config(lease_seconds)
    session = _session()
    with translated("DynamoDB"), _usable_settings():
        client = session.client("dynamodb", config=config)
    check_addresses(ENDPOINT, client.meta.endpoint_url)
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
        # Stores that are not Amazon's refuse the checksums of the SDK; the product compares its own sha256.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def observed(client: S3Client, limit: AdaptiveLimit) -> S3Client:
    """The same client: `limit` sees each request that is throttled, also those that the SDK sends again.

    A request that is sent again waits out the pause that the service asked for. The SDK's own `adaptive` mode
    would limit the rate of requests, not how many run at once, and is experimental: `standard` is what is used
    (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html).
    """

    def created(request: AWSRequest, **kwargs: object) -> None:
        request.context[_SENT] = limit.resend()

    def received(context: dict[str, Any], parsed_response: dict[str, Any] | None = None, **kwargs: object) -> None:
        metadata = (parsed_response or {}).get("ResponseMetadata", {})
        code = str((parsed_response or {}).get("Error", {}).get("Code", ""))
        if _is_throttled(code, metadata.get("HTTPStatusCode", 0)):
            limit.throttled(context.get(_SENT, 0), retry_after_seconds(metadata.get("HTTPHeaders", {})))

    client.meta.events.register("request-created.s3", created)
    client.meta.events.register("response-received.s3", received)
    return client


_SENT = "embedding_assets_sent"


def _is_throttled(code: str, status: int) -> bool:
    return code in THROTTLED or status in THROTTLED_STATUSES


def _lease_config(lease_seconds: float) -> Config:
    seconds = max(LEAST_TIMEOUT_SECONDS, lease_seconds / TIMEOUTS_A_LEASE)
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=2,
        connect_timeout=seconds,
        read_timeout=seconds,
    )


@contextmanager
def translated(subject: str, *, body: bool = False) -> Iterator[None]:
    """Raise botocore's errors as ours; `subject` says in words what was read or written.

    With `body`, a body is read here: what breaks is not tried again by the SDK. Our errors have no cause, because
    Dagster stores causes, and botocore's quote endpoints with their passwords, headers, and what a server said.
    """
    try:
        yield
    except ClientError as error:
        raise _from_client_error(subject, error) from None
    except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
        raise TransientError(f"{subject}: {_plain(error)}", broke_off=body) from None
    except ResponseParserError:
        raise TransientError(f"{subject}: the answer cannot be read", broke_off=True) from None
    except urllib3.exceptions.HTTPError as error:  # botocore lets it through if an answer breaks off in its body
        raise TransientError(f"{subject}: {_plain(error)}", broke_off=True) from None
    except RetriesExceededError as error:
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
    metadata: Any = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    message = bounded(f"{subject}: {code} {details.get('Message', '')}".rstrip())
    if code in PRECONDITION or status in (409, 412):
        return PreconditionError(message)
    if code in NOT_FOUND:
        return NotFoundError(f"{subject}: not found")
    if code in REFUSED_ITEM:
        return ItemError(message)
    if code in PASSING or status == 429 or status >= 500:
        return TransientError(
            message,
            throttled=_is_throttled(code, status),
            retry_after=retry_after_seconds(metadata.get("HTTPHeaders", {})),
        )
    return ServiceError(message)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())
