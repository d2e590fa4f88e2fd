"""Records with equal text share one request: the request of the first record that has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from embedding_assets.submission.parts import Line


@dataclass
class SharedRequests:
    """Says for each record of one batch, taken in order, whose request it shares; `singly`: each has its own.

    All of them are asked of the same model with the same dimensions. `count` requests were needed so far, whose
    texts have `tokens`.
    """

    singly: bool = False
    count: int = 0
    tokens: int = 0
    _first: dict[bytes, str] = field(default_factory=dict)

    def of(self, line: Line) -> str:
        """The id of the record whose request this one shares; its own if it is the first with its text."""
        first = line.id
        if not self.singly and line.text_sha256 is not None:
            first = self._first.setdefault(line.text_sha256, line.id)
        if first == line.id:
            self.count += 1
            self.tokens += line.tokens
        return first


def needed(lines: Iterable[Line], *, singly: bool = False) -> SharedRequests:
    """What sending these records needs."""
    requests = SharedRequests(singly)
    for line in lines:
        requests.of(line)
    return requests
