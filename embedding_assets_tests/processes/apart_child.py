"""A child for tests: says who it is, then waits, ends or dies as it was asked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from embedding_assets.processes.apart import Say, answer


def work(request: Mapping[str, Any], say: Say) -> None:
    """`then` is what follows the process id."""
    say(os.getpid())
    match request["then"]:
        case "wait":
            time.sleep(600)
        case "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "fail":
            raise ValueError("something")
    say("done")


if __name__ == "__main__":
    answer(work)
