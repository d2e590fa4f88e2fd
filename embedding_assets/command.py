"""The console script `embedding-assets`: loads the command line and runs it."""

from __future__ import annotations

import sys

from embedding_assets.processes.interruption import Interrupted, described, ending_signals, exit_code
from embedding_assets.processes.quiet_environment import call_nobody


def run() -> None:
    """Run the command line and exit as `cli.main.run` does, also if a signal comes while it loads."""
    call_nobody()
    with ending_signals():
        try:
            from embedding_assets.cli import main
        except Interrupted:
            sys.stderr.write(f"error: {described()}\n")
            sys.exit(exit_code())
        main.run()
