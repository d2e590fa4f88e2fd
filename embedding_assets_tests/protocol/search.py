"""A search through every order of steps of a model, breadth first: the violation found has the fewest steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

State = TypeVar("State", bound=Hashable)


class Violation(AssertionError):
    """An invariant does not hold; the message has the steps that lead there."""


def explore(
    first: State,
    successors: Callable[[State], Iterable[tuple[str, State]]],
    broken: Callable[[State, State], str | None],
    is_goal: Callable[[State], bool],
) -> int:
    """The number of states that can be reached from `first`.

    `successors` names each step; `broken` names the invariant that a step breaks. Raises Violation with the
    shortest way to it, and AssertionError if no order of steps reaches a goal.
    """
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        for step, after in successors(state):
            if after in came_from:
                continue
            came_from[after] = (state, step)
            invariant = broken(state, after)
            if invariant is not None:
                raise Violation(f"{invariant}: {' | '.join(_steps(came_from, after))}")
            waiting.append(after)
    assert any(is_goal(state) for state in came_from), "no order of steps reaches the goal"
    return len(came_from)


def _steps(came_from: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    steps: list[str] = []
    origin = came_from[state]
    while origin is not None:
        steps.append(origin[1])
        origin = came_from[origin[0]]
    return steps[::-1]
