"""How busy the machine is: figures of one that is shared mean little without it."""

from __future__ import annotations

import subprocess
import sys

BUSY = """
import time
wall, own = time.perf_counter(), time.process_time()
while time.process_time() - own < 0.5:
    pass
print((time.perf_counter() - wall) / (time.process_time() - own))
"""


def slowdown() -> float:
    """How much longer than alone two busy processes take now: what other work leaves of two processors."""
    command = [sys.executable, "-c", BUSY]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(one.communicate()[0]) for one in children) / len(children)
