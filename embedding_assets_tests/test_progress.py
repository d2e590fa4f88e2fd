"""Progress: how far, how fast, how much longer."""

from __future__ import annotations

import time

from embedding_assets.progress import Pace


def test_rate_and_time_left() -> None:
    """From two seconds on, while something is left."""
    assert Pace(62, "batches polled").line(12) == "12 of 62 batches polled"
    assert Pace(62, "batches polled", time.monotonic() - 4.0).line(12) == (
        "12 of 62 batches polled, 3.0 a second, about 17 s left"
    )
    slow = Pace(1000, "batches sent", time.monotonic() - 60.0).line(1)
    assert slow == "1 of 1,000 batches sent, 1.0 a minute, about 16 h 39 min left"
    assert Pace(5, "batches", time.monotonic() - 60.0).line(5) == "5 of 5 batches"
