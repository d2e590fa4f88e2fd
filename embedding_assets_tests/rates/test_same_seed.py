"""The same seed twice: the same calls with the same faults in the same order, down to the last one."""

from __future__ import annotations

import pytest

from embedding_assets_tests.rates.memory_world import MemoryWorld, deterministic
from embedding_assets_tests.rates.seeds import MANY, OUTAGES, kept_if_it_fails, quick_seeds, rate_of


def run(seed: int, rate: float | None = None) -> MemoryWorld:
    """A world that came through."""
    with deterministic() as settings:
        world = MemoryWorld(seed, rate_of(seed) if rate is None else rate, settings)
        world.run()
    return world


@pytest.mark.parametrize("seed", quick_seeds("memory"))
def test_the_same_seed_makes_the_same_calls(seed: int) -> None:
    """Whatever fails can be looked at again."""
    first, second = run(seed), run(seed)
    assert first.weather.dice.struck.total() > 0
    assert first.weather.log == second.weather.log


@pytest.mark.parametrize("rate", OUTAGES[:1])
def test_after_an_outage_three_ticks_are_enough(rate: float) -> None:
    """However little came through: then everything is published and marked."""
    run(0, rate)


@pytest.mark.long
def test_other_seeds_make_other_calls() -> None:
    """Else the log would show nothing."""
    logs = {"\n".join(run(seed).weather.log) for seed in range(3)}
    assert len(logs) == 3


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_many_seeds(seed: int) -> None:
    """Nothing is lost and nobody is blamed, here either."""
    with kept_if_it_fails("memory", seed):
        run(seed)
