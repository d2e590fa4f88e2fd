"""The product without one of its guards, for a moment: its source is changed at one place, its code exchanged."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, TypeGuard


@dataclass(frozen=True)
class Guard:
    """One guard: where it stands, its text, and the text without it."""

    name: str
    module: str
    text: str
    without: str


@contextmanager
def without(guard: Guard) -> Iterator[None]:
    """The product without this guard. AssertionError if its text does not stand there exactly once."""
    module = importlib.import_module(f"embedding_assets.{guard.module}")
    source = inspect.getsource(module)
    assert source.count(guard.text) == 1, f"{guard.name}: its text stands there {source.count(guard.text)} times"
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    before = dict(_functions(module))
    with _registered(changed):
        exec(compile(source.replace(guard.text, guard.without), str(module.__file__), "exec"), vars(changed))
    after = dict(_functions(changed))
    old = {name: function.__code__ for name, function in before.items()}
    try:
        for name, function in before.items():
            function.__code__ = after[name].__code__
        yield
    finally:
        for name, function in before.items():
            function.__code__ = old[name]


@contextmanager
def _registered(module: ModuleType) -> Iterator[None]:
    """Dataclasses look their module up by its name while they are made."""
    before = sys.modules[module.__name__]
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.modules[module.__name__] = before


def _functions(holder: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    """The functions of a module and of its classes that have code of their own in it, by qualified name."""
    name = holder.__name__
    for value in list(vars(holder).values()):
        found = _unwrapped(value)
        if (
            isinstance(found, FunctionType)
            and found.__module__ == name
            and found.__code__.co_filename == holder.__file__
        ):
            yield found.__qualname__, found
        elif inspect.isclass(value) and value.__module__ == name:
            for member in list(vars(value).values()):
                inner = _unwrapped(member)
                if _has_code_in(inner, holder):
                    yield inner.__qualname__, inner


def _has_code_in(value: Any, holder: ModuleType) -> TypeGuard[FunctionType]:
    return (
        isinstance(value, FunctionType)
        and value.__module__ == holder.__name__
        and value.__code__.co_filename == holder.__file__
    )


def _unwrapped(value: Any) -> Any:
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    return inspect.unwrap(value) if callable(value) else value
