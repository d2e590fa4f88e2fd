"""The figures of many storms, in the form of a line of `docs/reliability.md`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from embedding_assets_tests.rates.storm import Storm

HEAD = """
| rate | seeds | calls | faults | most calls of a seed | done in the storm | ingests after it, at most |
| --- | --- | --- | --- | --- | --- | --- |"""


@dataclass
class Tally:
    """All storms that ended well: none of them lost a record or set a batch aside, or it would have failed."""

    storms: list[Storm] = field(default_factory=list)

    def __str__(self) -> str:
        """A table by rate, and the faults by service and kind."""
        lines = []
        for rate in sorted({storm.rate for storm in self.storms}):
            some = [storm for storm in self.storms if storm.rate == rate]
            calls = [storm.calls for storm in some]
            struck = sum(storm.dice.struck.total() for storm in some)
            alone = sum(not storm.calm_ticks for storm in some)
            after = max(storm.calm_ticks for storm in some)
            lines.append(
                f"| {rate:.0%} | {len(some)} | {sum(calls):,} | {struck:,} | {max(calls):,} | {alone} | {after} |"
            )
        kinds = sum((storm.dice.struck for storm in self.storms), Counter())
        lines += [f"{service}: {fault}: {count:,}" for (service, fault), count in sorted(kinds.items())]
        return "\n".join([HEAD, *lines])
