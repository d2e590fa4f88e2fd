"""Alerts: what somebody should know without looking, each reported once, and once more when it is over. Pure.

A problem is a kind and the names that it is about: batches, or a run. What is reported is the difference between
the problems that were reported before and those of now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from embedding_assets.ledger.batch_summary import BatchSummary, format_instant
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.backlog import Kind, remarks
from embedding_assets.operations.commands import INGEST

OF_BATCHES: tuple[Kind, ...] = ("set aside", "missing", "unknown status", "late", "not embedded", "ended")
"""Remarks that somebody is alerted of; the others pass by themselves, or are what somebody just did."""
NAMED = 20
"""Names in one alert; `count` has all."""

Event = Literal["raised", "over"]


@dataclass(frozen=True)
class Problem:
    """What is wrong now. `lines` has a line for each name: a batch id, a run id or a version."""

    kind: str
    lines: Mapping[str, str]
    command: str | None = None


@dataclass(frozen=True)
class Alert:
    """One report about a database: what began (`raised`) or ended (`over`), and since when it is known."""

    event: Event
    database: str
    kind: str
    names: tuple[str, ...]
    count: int
    line: str
    command: str | None
    at: datetime

    def document(self) -> dict[str, Any]:
        """As it is posted."""
        return {
            "event": self.event,
            "database": self.database,
            "kind": self.kind,
            "line": self.line,
            "names": list(self.names),
            "count": self.count,
            "command": self.command,
            "at": format_instant(self.at),
        }

    def text(self) -> str:
        """One line for a chat."""
        command = f" Next: `{self.command}`" if self.command and self.event == "raised" else ""
        return f"{self.database}: {self.line}.{command}"


Reported = Mapping[str, Sequence[str]]
"""By kind, the names that were reported and are not over yet."""


def problems_of_batches(rows: Iterable[BatchSummary], now: datetime) -> list[Problem]:
    """By kind, the batches that want attention."""
    found: dict[Kind, Problem] = {}
    for remark in remarks(list(rows), {}, now):
        if remark.kind in OF_BATCHES:
            before = found.get(remark.kind)
            lines = {**(before.lines if before else {}), remark.batch_id: remark.why}
            found[remark.kind] = Problem(remark.kind, lines, before.command if before else remark.command)
    return list(found.values())


def problem_of_freshness(
    published_at: datetime | None, waiting: int, most: timedelta | None, now: datetime
) -> list[Problem]:
    """Whether batches wait while the published version is older than it should be."""
    if most is None or published_at is None or not waiting or now - published_at <= most:
        return []
    line = f"the published version is {age_text(now - published_at)} old and {waiting} batches wait"
    return [Problem("not fresh", {"published version": line}, INGEST)]


def problem_of_runs(failed: str | None) -> list[Problem]:
    """Whether the latest run of the ingest job failed; `failed` is its id."""
    if failed is None:
        return []
    return [Problem("run failed", {failed: f"run {failed} of the ingest job failed"}, INGEST)]


def due(database: str, reported: Reported, problems: Sequence[Problem], now: datetime) -> list[Alert]:
    """The alerts that are due, at most one of a kind: what is new of a problem, or that the whole kind is over."""
    alerts: list[Alert] = []
    for problem in problems:
        known = set(reported.get(problem.kind, ()))
        new = [name for name in problem.lines if name not in known]
        if new:
            line = _raised(problem, new)
            names = tuple(new[:NAMED])
            alert = Alert("raised", database, problem.kind, names, len(new), line, problem.command, now)
            alerts.append(alert)
    still = {problem.kind for problem in problems}
    for kind, before in reported.items():
        if before and kind not in still:
            line = f"{kind}: over"
            alerts.append(Alert("over", database, kind, tuple(before[:NAMED]), len(before), line, None, now))
    return alerts


def names_of(problems: Sequence[Problem], kind: str) -> list[str]:
    """The names that a kind is about now: those that are reported once its alert was delivered."""
    problem = next((one for one in problems if one.kind == kind), None)
    return [] if problem is None else list(problem.lines)


def _raised(problem: Problem, new: Sequence[str]) -> str:
    first = f"{new[0]}: {problem.lines[new[0]]}"
    if len(new) == 1:
        return f"{problem.kind}: {first}" if problem.kind != "run failed" else problem.lines[new[0]]
    return f"{problem.kind}: {len(new)} batches, the first {first}"
