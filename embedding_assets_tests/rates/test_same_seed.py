"""The same seed twice: the same calls with the same faults in the same order, down to the last one."""

from __future__ import annotations

import pytest

from embedding_assets_tests.rates.memory_world import MemoryWorld, deterministic
from embedding_assets_tests.rates.seeds import MANY, rate_of

FEW = (0, 1, 2)


def run(seed: int) -> MemoryWorld:
    """A world that came through."""
    with deterministic() as settings:
        world = MemoryWorld(seed, rate_of(seed), settings)
        world.run()
    return world


@pytest.mark.parametrize("seed", FEW)
def test_the_same_seed_makes_the_same_calls(seed: int) -> None:
    """Whatever fails can be looked at again."""
    first, second = run(seed), run(seed)
    assert first.weather.dice.struck.total() > 0
    assert first.weather.log == second.weather.log


@pytest.mark.long
def test_another_seed_makes_other_calls() -> None:
    """Else the log would show nothing."""
    logs = {"\n".join(run(seed).weather.log) for seed in FEW}
    assert len(logs) == len(FEW)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_many_seeds(seed: int) -> None:
    """Nothing is lost and nobody is blamed, here either."""
    run(seed)
