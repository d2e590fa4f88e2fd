"""What is shown of an error that nobody caught, in whatever thread: one line, or with `--debug` a traceback.

A traceback and the SDKs' logs quote what they find. They go through the same filter as all that a command prints.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings

from embedding_assets.cli.output import print_error, warn
from embedding_assets.control_characters import visible_lines
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.redaction import redacted


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback included, without secrets and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return visible_lines(redacted(super().format(record)))


def show_logs() -> None:
    """Let logs of all libraries, from INFO on, and Python's warnings go to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)


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


def watch_threads(*, debug: bool) -> None:
    """What ends a thread is a warning of one line; with `debug` a traceback too."""

    def report(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is None or isinstance(ended.exc_value, SystemExit):
            return
        if debug:
            text = "".join(traceback.format_exception(ended.exc_value))
            sys.stderr.write(visible_lines(redacted(text)))
        name = ended.thread.name if ended.thread is not None else "a thread"
        warn(f"{name} ended with {type(ended.exc_value).__name__}: {ended.exc_value}")

    threading.excepthook = report
