"""A bucket and a table that nobody else uses."""

from __future__ import annotations

import uuid

from embedding_assets.ledger.table_definition import create_table
from embedding_assets_tests.conftest import AwsClients


def make_place(aws: AwsClients) -> tuple[str, str]:
    """Names of a new bucket and a new table."""
    bucket, table = (f"{kind}-{uuid.uuid4().hex}" for kind in ("bucket", "table"))
    aws.s3.create_bucket(Bucket=bucket)
    create_table(aws.dynamodb, table)
    return bucket, table
