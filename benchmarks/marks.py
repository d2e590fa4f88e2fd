"""The marks of this project, and whether the results of one run of all benchmarks hold them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FASTER = 3.5
"""Times that a merge is faster than the replaced design, by both clocks."""
FLOORS = 2.5
"""Floors of processor time that it takes at most."""
AGAIN = 0.1
"""Of the first time, what merging the same once more takes at most."""
RECALL = 0.98
"""Of the ten nearest records, what searches find at least."""

LARGE = 27_000
MANY = 300
"""Batches that orchestration has its mark at."""

SIGNS = {"≥": operator.ge, "≤": operator.le}


@dataclass(frozen=True)
class Mark:
    """One figure and what it is to be."""

    name: str
    figure: float
    sign: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the figure is as it is to be."""
        return bool(SIGNS[self.sign](self.figure, self.bound))


def marks(told: Mapping[str, Any]) -> Iterator[Mark]:
    """Every mark of the results that are there, by the name of their file."""
    for result in told.get("merges", {}).get("results", ()):
        yield from merging(result)
    for file in ("polling", "polling-large"):
        if file in told:
            yield from polling(told[file])
    yield from orchestration(told.get("orchestration", ()))


def merging(result: Mapping[str, Any]) -> Iterator[Mark]:
    """Of the merge of one size."""
    size, ratios = f"{result['count']:,}", result["ratios"]
    direct = result["writer"] == "direct" and result["count"] == LARGE
    faster, floors = (6.0, 1.4) if direct else (FASTER, FLOORS)
    writer = f"{size}, written {'directly' if result['writer'] == 'direct' else 'by Chroma'}"
    yield Mark(f"{writer}: times faster than the replaced design, wall", ratios["replaced_wall"], "≥", faster)
    yield Mark(f"{writer}: times faster than the replaced design, CPU", ratios["replaced_cpu"], "≥", faster)
    yield Mark(f"{writer}: floors of CPU", ratios["floor_cpu"], "≤", floors)
    chroma = f"{size}, written by Chroma"
    yield Mark(
        f"{chroma}: times faster than the replaced design, wall", ratios["chroma_replaced_wall"], "≥", FASTER
    )
    yield Mark(f"{chroma}: times faster than the replaced design, CPU", ratios["chroma_replaced_cpu"], "≥", FASTER)
    yield Mark(f"{chroma}: floors of CPU", ratios["chroma_floor_cpu"], "≤", FLOORS)
    yield Mark(f"{size}: the same once more, of the first time", ratios["reingest_wall"], "≤", AGAIN)
    for way in ("ours", "ours_chroma"):
        recall = result["runs"][way][0]["recall"]
        yield Mark(f"{size}, {'default' if way == 'ours' else 'Chroma writing'}: recall@10", recall, "≥", 0.99)


def polling(told: Mapping[str, Any]) -> Iterator[Mark]:
    """Of polling, with the emulated bucket and with a folder."""
    asked = told["asked"]
    for encoding in asked["encodings"]:
        for way, bucket in (("poll", "emulated bucket"), ("poll_into_folder", "a folder for the bucket")):
            name = f"polling {asked['batches']} × {asked['lines']:,}, {encoding}, {bucket}: of parsing's rate"
            yield Mark(name, round(told[encoding][way]["ratio_wall"], 3), "≥", 0.8)


def orchestration(cells: Any) -> Iterator[Mark]:
    """Of many batches, with and without what the emulated services' processors took."""
    for cell in cells:
        if cell["batches"] == MANY:
            name = f"orchestration of {MANY}, {cell['executor']}, seconds"
            yield Mark(name, round(cell["overhead"], 1), "≤", 15.0)
            own = round(cell["overhead"] - cell["overhead_of_servers"], 1)
            yield Mark(f"{name} without the servers' own", own, "≤", 15.0)
