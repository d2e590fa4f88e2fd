"""Checks of an account: what each one found, and the one place where an error becomes a failed check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from embedding_assets.errors import EmbeddingAssetsError, TransientError
from embedding_assets.progress import Progress

TRY_AGAIN = "try again; if it stays, check the network, AWS_ENDPOINT_URL and OPENAI_BASE_URL"


class Status(StrEnum):
    """How a check ended. Only `failed` means that the product cannot be trusted with this account."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check saw, in one line; if something is wrong, also what to do about it."""

    status: Status
    message: str


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    `run` gives its finding or raises one of our errors; such an error counts as `weight`, and `remedy` says what
    to do then. `needs` names the checks before it without which it cannot run.
    """

    name: str
    run: Callable[[], Finding]
    remedy: str
    needs: tuple[str, ...] = ()
    weight: Status = Status.FAILED


@dataclass(frozen=True)
class Result:
    """A check that was done, or skipped."""

    name: str
    status: Status
    message: str
    seconds: float


def run_checks(checks: Iterable[Check], progress: Progress) -> tuple[Result, ...]:
    """Do the checks in their order, each reported at its start; a failure stops only those that need it."""
    results: dict[str, Result] = {}
    for check in checks:
        progress(check.name)
        started = time.monotonic()
        lacking = [name for name in check.needs if results[name].status is not Status.OK]
        if lacking:
            finding = Finding(Status.SKIPPED, f"not tried: it needs “{lacking[0]}” to be ok")
        else:
            finding = _look(check)
        message = " ".join(finding.message.split())
        results[check.name] = Result(check.name, finding.status, message, time.monotonic() - started)
    return tuple(results.values())


def _look(check: Check) -> Finding:
    try:
        return check.run()
    except TransientError as error:
        return Finding(check.weight, f"{error}; {TRY_AGAIN}")
    except EmbeddingAssetsError as error:
        return Finding(check.weight, f"{error}; {check.remedy}")
