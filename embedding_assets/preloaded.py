"""What the processes of a run's steps find loaded: each is forked from one that has imported this.

What cannot be prepared here, each step does for itself, and says why it cannot.
"""

from __future__ import annotations

import gc
from contextlib import suppress

import dagster._core.execution.plan.active
import dagster._core.executor.multiprocess
import dagster._core.storage.sqlite_storage  # noqa: F401
from botocore.exceptions import BotoCoreError

import embedding_assets.cli.main  # noqa: F401 - the main module of `embedding-assets`, which each process runs again
from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.definitions import defs
from embedding_assets.errors import EmbeddingAssetsError

defs.resolve_all_job_defs()

with suppress(EmbeddingAssetsError, BotoCoreError):
    s3_client()
    dynamodb_client()

gc.collect()
gc.freeze()
