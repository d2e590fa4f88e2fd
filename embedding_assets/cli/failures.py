"""What is shown of an error that nobody caught, in whatever thread: one line, or with `--debug` a traceback.

A traceback and the SDKs' logs quote what they find. They go through the same filter as all that a command prints.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from embedding_assets.cli.output import print_error, warn
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.text.control_characters import visible_lines
from embedding_assets.text.redaction import redacted


class RedactingFormatter(logging.Formatter):
    """Formats a record and its traceback as another formatter does, without secrets and control characters."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return visible_lines(redacted(self._inner.format(record)))


def show_logs() -> None:
    """Let logs of all libraries, from INFO on, and Python's warnings go to stderr."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.captureWarnings(True)


def filter_logs() -> None:
    """Whoever made the handlers that print logs: the OpenAI SDK makes one for `OPENAI_LOG`."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler and not isinstance(handler.formatter, RedactingFormatter):
            handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter()))


def hide_warnings() -> None:
    """Python's warnings are for developers."""
    warnings.simplefilter("ignore")


def print_failure(error: BaseException, *, debug: bool) -> None:
    """The error as one line; with `debug` its traceback before it."""
    if debug:
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(visible_lines(redacted(text)))
    if isinstance(error, EmbeddingAssetsError):
        print_error(str(error))
    else:
        hint = "" if debug else " (--debug shows where)"
        print_error(f"unexpected {type(error).__name__}: {error}{hint}")


@contextmanager
def watched_threads(*, debug: bool) -> Iterator[None]:
    """While the block runs, what ends a thread is a warning of one line; with `debug` a traceback too."""

    def report(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is None or isinstance(ended.exc_value, SystemExit):
            return
        if debug:
            text = "".join(traceback.format_exception(ended.exc_value))
            sys.stderr.write(visible_lines(redacted(text)))
        name = ended.thread.name if ended.thread is not None else "a thread"
        warn(f"{name} ended with {type(ended.exc_value).__name__}: {ended.exc_value}")

    before, threading.excepthook = threading.excepthook, report
    try:
        yield
    finally:
        threading.excepthook = before
