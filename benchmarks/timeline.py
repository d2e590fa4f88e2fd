"""Where the time of an ingest went: every moment is work, or overhead of one stage; the parts add up to the whole.

A moment at which several steps run side by side is shared between them; a step is at work while one of its
threads polls, merges or transfers. Time in which the polling step tells Dagster of a batch is overhead, also
where its other threads still poll.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dagster import DagsterEventType, DagsterInstance

from benchmarks.stopwatch import EVENTS, LOCK, MERGING, POLLING

WORK = (POLLING, MERGING)
INSIDE_STEPS = (EVENTS, LOCK, *WORK)
"""Of these the first that goes on in a step names the moment."""

BEGINNING = "start of the command"
LAUNCH = "launch of the run"
GAPS = "between steps"
ENDING = "end of the run"

STARTS = (DagsterEventType.STEP_WORKER_STARTING, DagsterEventType.STEP_START)
ENDS = (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE, DagsterEventType.STEP_UP_FOR_RETRY)


@dataclass(frozen=True)
class Span:
    """One timed call; epoch seconds."""

    name: str
    pid: int
    start: float
    end: float

    def covers(self, moment: float) -> bool:
        """Whether it goes on at that moment."""
        return self.start <= moment < self.end


@dataclass(frozen=True)
class Step:
    """One step of the run, from when its process is asked for; its spans are of process `pid`."""

    key: str
    pid: int
    start: float
    end: float

    @property
    def stage(self) -> str:
        """The step's name without the database and what tells mapped steps apart."""
        name = self.key.partition("[")[0].rpartition(".")[2]
        return f"step {name.removeprefix('lines__').removeprefix('lines_')}"


def steps_of(instance: DagsterInstance, run_id: str) -> list[Step]:
    """Every step of a run, as its event log tells."""
    starts: dict[str, float] = {}
    pids: dict[str, int] = {}
    ends: dict[str, float] = {}
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type={*STARTS, *ENDS}, limit=1000)
        cursor, more = page.cursor, page.has_more
        for record in page.records:
            event = record.event_log_entry.get_dagster_event()
            key = event.step_key or ""
            if event.event_type in ENDS:
                ends[key] = record.timestamp
                continue
            starts.setdefault(key, record.timestamp)
            if event.event_type == DagsterEventType.STEP_START and event.pid is not None:
                pids[key] = event.pid
    return [Step(key, pids[key], starts[key], ends[key]) for key in starts]


Between = Callable[[float, float], float]
"""What is counted of the time between two moments."""


def elapsed(start: float, end: float) -> float:
    """Seconds by the clock on the wall."""
    return end - start


def stages(
    began: float, spans: Sequence[Span], steps: Sequence[Step], between: Between = elapsed
) -> dict[str, float]:
    """Seconds by stage, from `began` until the batches are marked."""
    phases = [span for span in spans if span.name not in INSIDE_STEPS]
    inside = [span for span in spans if span.name in INSIDE_STEPS]
    ended = max(span.end for span in phases if span.name == "mark")
    seen = {moment for one in spans for moment in (one.start, one.end)}
    seen |= {moment for step in steps for moment in (step.start, step.end)}
    moments = {began, ended, *(moment for moment in seen if began < moment < ended)}
    ordered = sorted(moments)
    found: defaultdict[str, float] = defaultdict(float)
    for start, end in pairwise(ordered):
        middle = (start + end) / 2
        running = [step for step in steps if step.start <= middle < step.end]
        for step in running:
            found[_in_step(step, inside, middle)] += between(start, end) / len(running)
        if not running:
            found[_between(phases, steps, middle)] += between(start, end)
    return dict(found)


def _in_step(step: Step, inside: Sequence[Span], moment: float) -> str:
    going_on = {span.name for span in inside if span.pid == step.pid and span.covers(moment)}
    return next((name for name in INSIDE_STEPS if name in going_on), step.stage)


def _between(phases: Sequence[Span], steps: Sequence[Step], moment: float) -> str:
    going_on = [span for span in phases if span.covers(moment)]
    if not going_on:
        return BEGINNING
    innermost = max(going_on, key=lambda span: span.start)
    if innermost.name == "run":
        if moment < min(step.start for step in steps):
            return LAUNCH
        return ENDING if moment >= max(step.end for step in steps) else GAPS
    if innermost.name == "execution":
        return "planning: the rest"
    if innermost.name == "mark":
        before = moment < min(step.start for step in steps)
        return "planning: what is left to mark" if before else "mark: materializations"
    if innermost.name == "mark: rows" and moment < min(step.start for step in steps):
        return "planning: what is left to mark"
    return innermost.name
