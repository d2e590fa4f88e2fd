"""The console script `embedding-assets`: loads the command line and runs it.

Loading makes a million objects that stay. Looking through them for garbage again and again takes a quarter of the
time until a command begins, so that is left out while they are made, and they are never looked through again.
"""

from __future__ import annotations

import gc


def run() -> None:
    """Run the command line and exit, as `embedding_assets.cli.main.run` does."""
    gc.disable()
    from embedding_assets.cli import main

    gc.freeze()
    gc.enable()
    main.run()
