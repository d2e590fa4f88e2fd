"""One thread for everything: what a program does at once it does in the order in which it was asked to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import pytest


class OneThread:
    """In place of a ThreadPoolExecutor: each call is done when it is submitted."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Do it now."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **options))
        except Exception as error:  # noqa: BLE001 - a future's boundary: raised where its result is asked for
            done.set_exception(error)
        return done

    def map(self, work: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        """Do all of it now."""
        futures = [self.submit(work, *arguments) for arguments in zip(*iterables, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, *arguments: Any, **options: Any) -> None:
        """Nothing runs."""


def in_one_thread(patch: pytest.MonkeyPatch) -> None:
    """From now on the product's modules, as far as they are imported, begin no thread pool."""
    for name, module in list(sys.modules.items()):
        if name.startswith("embedding_assets."):
            if hasattr(module, "ThreadPoolExecutor"):
                patch.setattr(module, "ThreadPoolExecutor", OneThread)
            if hasattr(module, "as_completed"):
                patch.setattr(module, "as_completed", list)
