"""The command `embedding-assets`, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated, Any

import typer

from embedding_assets.cli import batches, demo, dev, doctor, ingest, search, snapshots, status, submit
from embedding_assets.cli.output import print_error
from embedding_assets.errors import EmbeddingAssetsError

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    help="OpenAI Batch API embeddings, turned into ChromaDB snapshots on S3 that an application can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and logs.")] = False,
) -> None:
    """OpenAI Batch API embeddings, turned into ChromaDB snapshots on S3 that an application can trust."""
    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)


app.command()(demo.demo)
app.command()(dev.dev)
app.command()(submit.submit)
app.command()(status.status)
app.command()(ingest.ingest)
app.command()(batches.reprocess)
app.command()(batches.resubmit)
app.command()(batches.reset)
app.command()(search.search)
app.command()(doctor.doctor)
app.add_typer(snapshots.app, name="snapshots")


def _click_exception() -> type[Exception]:
    """The base of what click raises for wrong usage: of click itself or of the copy inside newer typer."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


USAGE_ERROR = _click_exception()


def _tell_usage(error: Any) -> None:
    """A page of help where no command was given, one line otherwise."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error.format_message()}\n")
    else:
        print_error(error.format_message())


def run() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage.

    Without its standalone mode click returns the code of an `Exit` instead of leaving with it.
    """
    if "--debug" not in sys.argv:
        warnings.simplefilter("ignore")
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except USAGE_ERROR as error:
        _tell_usage(error)
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
    except EmbeddingAssetsError as error:
        if "--debug" in sys.argv:
            raise
        print_error(str(error))
        sys.exit(FAILED)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        print_error(f"unexpected {type(error).__name__}: {error} (--debug shows where)")
        sys.exit(FAILED)
    if code == INTERRUPTED:
        print_error("interrupted")
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    run()
