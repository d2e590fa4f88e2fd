"""Signals raise once, in the main thread, and never in the middle of what must not be left there."""

from __future__ import annotations

import os
import signal
from unittest import mock

import pytest

from embedding_assets.processes import interruption
from embedding_assets.processes.interruption import (
    ENDING,
    Interrupted,
    described,
    ending_signals,
    exit_code,
    uninterrupted,
)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_raises(number: signal.Signals) -> None:
    """With the exit code that a shell reports; what handled it before handles it again afterwards."""
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), ending_signals():
        os.kill(os.getpid(), number)
    assert (exit_code(), signal.getsignal(number)) == (128 + number, before)
    assert described() == ("interrupted" if number == signal.SIGINT else f"interrupted by {number.name}")


def send(*numbers: signal.Signals) -> None:
    """Send this process signals."""
    for number in numbers:
        os.kill(os.getpid(), number)


def clean_up(cleaned: list[bool]) -> None:
    """A command whose end is disturbed by further signals."""
    try:
        send(signal.SIGTERM)
    finally:
        send(signal.SIGINT, signal.SIGTERM)
        cleaned.append(True)


def test_only_the_first_raises() -> None:
    """A second one must not end what the first began: it comes when somebody is impatient, or from two sides."""
    cleaned: list[bool] = []
    with pytest.raises(Interrupted), ending_signals():
        clean_up(cleaned)
    assert (cleaned, exit_code()) == ([True], 143)


def test_what_hangs_can_be_ended() -> None:
    """After a while another signal raises again."""
    cleaned: list[bool] = []
    with mock.patch.object(interruption, "PATIENCE_SECONDS", 0.0), pytest.raises(Interrupted), ending_signals():
        clean_up(cleaned)
    assert cleaned == []


def test_an_ignored_signal_stays_ignored() -> None:
    """As `nohup` ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def nested_blocks(done: list[str]) -> None:
    """Two blocks that must not be left in their middle, and what follows."""
    with uninterrupted():
        with uninterrupted():
            send(signal.SIGTERM)
            done.append("inner")
            send(signal.SIGTERM)
        done.append("outer")
    done.append("too late")


def test_a_block_ends_first() -> None:
    """A signal that comes in it raises after it, also through an inner one."""
    done: list[str] = []
    with pytest.raises(Interrupted), ending_signals():
        nested_blocks(done)
    assert (done, exit_code()) == (["inner", "outer"], 143)


def test_a_block_that_hangs_can_be_ended() -> None:
    """A second signal after a while raises in it."""
    done: list[str] = []
    with mock.patch.object(interruption, "PATIENCE_SECONDS", 0.0), pytest.raises(Interrupted), ending_signals():
        hanging_block(done)
    assert done == ["first"]


def hanging_block(done: list[str]) -> None:
    """A block to which two signals come."""
    with uninterrupted():
        send(signal.SIGTERM)
        done.append("first")
        send(signal.SIGTERM)
        done.append("second")
