"""Work in a process of its own: for native code that a damaged file can bring down.

The child gets its request on stdin, and answers on a pipe, a JSON value a line. It ends when this process does:
stdin ends then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from embedding_assets.processes.quiet_environment import with_this_package

Say = Callable[[Any], None]
"""Sends one JSON value to the process that asked."""


class EndedError(Exception):
    """The child ended before it had answered; the text says how."""


def answers(module: str, request: Mapping[str, Any]) -> Iterator[Any]:
    """What `python -m module`, which calls `answer`, says about the request, as it says it.

    The child is killed if nobody wants more. Raises EndedError if it did not end by itself with 0.
    """
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(theirs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs,),
        env=with_this_package(os.environ),
    )
    os.close(theirs)
    assert process.stdin is not None, "it is a pipe"
    try:
        with os.fdopen(ours, encoding="utf-8") as lines:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            yield from map(json.loads, lines)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
    if code:
        raise EndedError(f"ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}")


def answer(work: Callable[[Mapping[str, Any], Say], None]) -> None:
    """In the child: do `work`, which gets the request, and a function that sends an answer."""
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as sink:
        request = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_the_parent, daemon=True).start()

        def say(value: Any) -> None:
            sink.write(json.dumps(value) + "\n")
            sink.flush()

        work(request, say)


def _end_with_the_parent() -> None:
    # Not through the buffer of stdin: a thread that holds its lock while Python ends is fatal.
    while os.read(sys.stdin.fileno(), 1):
        """Nothing more is said."""
    os._exit(1)
