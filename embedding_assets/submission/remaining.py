"""What of a part is still to be submitted, and in which way: to OpenAI, or with a vector that is published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from embedding_assets.submission.parts import Line, Part
from embedding_assets.submission.shared_requests import SharedRequests
from embedding_assets.submission.submission_index import Latest, SubmissionIndex

INSTANT_AFTER = timedelta(microseconds=1)


@dataclass(frozen=True)
class Sent:
    """A batch that was made or adopted: its records, and the requests and tokens that OpenAI got for them."""

    batch_id: str
    records: int
    requests: int
    tokens: int
    local: bool


@dataclass(frozen=True)
class Remaining:
    """The records of a part that are to be submitted in one way, and the precedence that they must exceed.

    `requests` and `tokens` are what OpenAI gets for them.
    """

    ids: frozenset[str]
    requests: int
    tokens: int
    newest: datetime | None

    def sent_as(self, batch_id: str, *, local: bool) -> Sent:
        """The batch that they become."""
        return Sent(batch_id, len(self.ids), self.requests, self.tokens, local)

    def instants(self) -> dict[str, datetime]:
        """When they are submitted; their precedence too, if a clock ahead of ours made what is there later."""
        now = datetime.now(UTC)
        if self.newest is None or self.newest < now:
            return {"submitted_at": now}
        return {"submitted_at": now, "precedence_at": self.newest + INSTANT_AFTER}


def remaining_of(part: Part, known: SubmissionIndex, *, local: bool, force: bool) -> Remaining:
    """What is neither published nor on its way: the `local` records of it, or those that OpenAI has to embed.

    `force`: all records, each with a request of its own.
    """
    ids: set[str] = set()
    requests = SharedRequests(singly=force)
    newest: datetime | None = None
    for line in part.lines():
        latest = known.latest(line.id)
        if latest is not None and not force and _is_same(latest, line):
            continue
        if (known.published_with(line.text_sha256) is not None) != local:
            continue
        ids.add(line.id)
        if not local and not part.deletion:
            requests.of(line)
        if latest is not None and (newest is None or latest.precedence_at > newest):
            newest = latest.precedence_at
    return Remaining(frozenset(ids), requests.count, requests.tokens, newest)


def _is_same(latest: Latest, line: Line) -> bool:
    """Whether nothing would change if the line were submitted."""
    if line.input_sha256 is None:
        return latest.deletion
    return latest.input_sha256 == line.input_sha256
