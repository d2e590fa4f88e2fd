"""Where our code meets Dagster, which stores every log line and every error with all its causes.

What may pass is retried by the asset's policy, the rest fails at once; and nothing that is stored quotes a secret.
"""

from __future__ import annotations

import functools
import inspect
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from dagster import (
    AssetCheckExecutionContext,
    AssetExecutionContext,
    Backoff,
    DagsterExecutionInterruptedError,
    Failure,
    Jitter,
    OpExecutionContext,
    RetryPolicy,
    SensorEvaluationContext,
)

from embedding_assets.errors import EmbeddingAssetsError, LockError, TransientError
from embedding_assets.text.control_characters import visible_lines
from embedding_assets.text.redaction import redacted

RETRIES = RetryPolicy(max_retries=3, delay=2.0, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""2, 4 and 8 seconds, each give or take as much."""

CONTEXTS = (OpExecutionContext, AssetExecutionContext, AssetCheckExecutionContext, SensorEvaluationContext)
"""What Dagster gives to a body, with a log."""

Body = TypeVar("Body", bound=Callable[..., Any])


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


class UnexpectedError(Exception):
    """Stands for an error of another package that quoted a secret: its type and text, without the secret."""


def without_secrets_in_dagster(body: Body) -> Body:
    """Decorate what Dagster calls: an asset, op, check, sensor, or a method of an IO manager.

    What it logs through its context and what it raises goes through the filter of secrets first.
    """
    if inspect.isgeneratorfunction(body):

        @functools.wraps(body)
        def generate(*args: Any, **kwargs: Any) -> Any:
            _filter_log(args, kwargs)
            with errors_without_secrets():
                yield from body(*args, **kwargs)

        return cast(Body, generate)

    @functools.wraps(body)
    def call(*args: Any, **kwargs: Any) -> Any:
        _filter_log(args, kwargs)
        with errors_without_secrets():
            return body(*args, **kwargs)

    return cast(Body, call)


@contextmanager
def errors_without_secrets() -> Iterator[None]:
    """Raise what the block raises; errors that quote a secret, or have a cause that does, as UnexpectedError."""
    try:
        yield
    except Exception as error:
        clean = _without_secrets(error)
        if clean is error:
            raise
        raise clean from clean.__cause__


def _without_secrets(error: BaseException) -> BaseException:
    """The error itself if nothing that is stored of it quotes a secret, else one that says the same without."""
    text = "".join(traceback.format_exception(error))
    if redacted(text) == text:
        return error
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    own = "".join(traceback.format_exception_only(error)).strip()
    if redacted(own) == own:
        clean = error
    else:
        clean = UnexpectedError(visible_lines(redacted(own))).with_traceback(error.__traceback__)
    clean.__cause__ = None if cause is None else _without_secrets(cause)
    return clean


class _SecretsFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = visible_lines(redacted(record.getMessage())), ()
        return True


_FILTER = _SecretsFilter()


def _filter_log(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for argument in (*args, *kwargs.values()):
        if isinstance(argument, CONTEXTS):
            argument.log.addFilter(_FILTER)
