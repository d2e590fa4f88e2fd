"""The weather of a world in memory: every call is logged, and goes well or not, by seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from embedding_assets_tests.rates.faults import RANDOM_PARTS, Dice, Fault, Service


class Weather:
    """Draws a fault for each call. `log` has a line for each: the call, its fault, and how it ended."""

    def __init__(self, seed: int, rate: float) -> None:
        self.dice = Dice(seed, rate)
        self.log: list[str] = []

    def clear_up(self) -> None:
        """No call goes wrong from now on."""
        self.dice.rate = 0.0

    @contextmanager
    def call(self, service: Service, what: str) -> Iterator[Fault | None]:
        """One call, as the block; gives the fault that strikes it."""
        fault = self.dice.throw(service, what)
        end = "answered"
        try:
            yield fault
        except Exception as error:
            end = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.log.append(RANDOM_PARTS.sub("*", f"{service} {what} | {fault or 'no fault'} | {end}"))
