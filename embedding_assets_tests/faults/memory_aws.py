"""S3 and DynamoDB in memory beneath boto3: a call costs microseconds instead of milliseconds.

Everything above boto3's one method is real: clients, paginators, the transfer manager. The servers themselves are
asked in `make test-long`, and by every test outside of this folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.client
import pytest
from botocore import xform_name

from embedding_assets_tests.schedules.memory_dynamodb import MemoryDynamoDB
from embedding_assets_tests.schedules.memory_s3 import MemoryS3


@contextmanager
def aws_in_memory() -> Iterator[None]:
    """While open, every client of boto3 in this process speaks to one bucket and one table in memory."""
    services: dict[str, Any] = {"s3": MemoryS3(), "dynamodb": MemoryDynamoDB()}

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        service = services[client.meta.service_model.service_name]
        return getattr(service, xform_name(operation))(**parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", call)
        yield
