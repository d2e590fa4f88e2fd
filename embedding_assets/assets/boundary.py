"""Where our errors become Dagster's: what may pass is retried by the asset's policy, the rest fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Backoff, DagsterExecutionInterruptedError, Failure, Jitter, RetryPolicy

from embedding_assets.errors import EmbeddingAssetsError, LockError, TransientError

RETRIES = RetryPolicy(max_retries=3, delay=2.0, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""2, 4 and 8 seconds, each give or take as much."""


@contextmanager
def dagster_errors() -> Iterator[None]:
    """Let transient errors through to the retry policy; turn the others into a Failure of one clear line.

    Dagster would retry a step that a signal interrupted; whoever sent the signal does not want that.
    """
    try:
        yield
    except (TransientError, LockError):
        raise
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as signal:
        raise Failure("interrupted by a signal", allow_retries=False) from signal
    except EmbeddingAssetsError as error:
        raise Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error
