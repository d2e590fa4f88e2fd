"""The command `embedding-assets`, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from embedding_assets import __version__
from embedding_assets.cli.failures import filter_logs, hide_warnings, print_failure, show_logs, watched_threads
from embedding_assets.cli.lazy_group import LazyGroup
from embedding_assets.cli.output import STDOUT, one_document, print_error
from embedding_assets.cli.temporary_files import own_temporary_directory
from embedding_assets.processes.interruption import described, ending_signals, exit_code
from embedding_assets.processes.quiet_environment import call_nobody

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
"""What click and typer return for a KeyboardInterrupt, whichever signal raised it."""
DEBUG = "--debug"
JSON = "--json"

app = typer.Typer(
    cls=LazyGroup,
    help="OpenAI Batch API embeddings, turned into ChromaDB snapshots on S3 that an application can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        STDOUT.print(f"embedding-assets {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show tracebacks and logs. Works anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """OpenAI Batch API embeddings, turned into ChromaDB snapshots on S3 that an application can trust."""


def _click_exception() -> type[Exception]:
    """The base of what click raises for wrong usage: of click itself or of the copy inside newer typer."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


USAGE_ERROR = _click_exception()


def _print_usage(error: Any) -> None:
    """A page of help where no command was given, one line otherwise."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error.format_message()}\n")
    else:
        print_error(error.format_message())


def run() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 128 and its number after a signal."""
    arguments = sys.argv[1:]
    with one_document(JSON in _options(arguments)):
        code = _exit_code(arguments)
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    call_nobody()
    debug, arguments = _without_debug(arguments)
    if debug:
        show_logs()
    else:
        hide_warnings()
    filter_logs()
    with ending_signals(), watched_threads(debug=debug):
        try:
            with own_temporary_directory():
                code = _run(arguments, debug)
        except KeyboardInterrupt:
            code = INTERRUPTED
        if code != INTERRUPTED:
            return code
        # A terminal that hung up takes no line any more.
        with suppress(OSError):
            print_error(described())
        return exit_code()


def _without_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether `--debug` is anywhere before a `--`, and the arguments without it."""
    options = _options(arguments)
    kept = [argument for argument in options if argument != DEBUG]
    return len(kept) < len(options), kept + arguments[len(options) :]


def _options(arguments: list[str]) -> list[str]:
    """The arguments before a `--`: what is after it is never an option."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _run(arguments: list[str], debug: bool) -> int:
    """Run the command; INTERRUPTED if a signal ended it.

    Without its standalone mode click returns the code of an `Exit` instead of leaving with it, and typer makes
    one with INTERRUPTED of a KeyboardInterrupt.
    """
    try:
        code = app(args=arguments, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except USAGE_ERROR as error:
        _print_usage(error)
        return WRONG_USAGE
    except Exception as error:  # noqa: BLE001 - the boundary: an error becomes a line and an exit code
        print_failure(error, debug=debug)
        return FAILED
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    run()
