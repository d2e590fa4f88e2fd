"""What batches cost, as far as their rows tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.submission.tokens import OPENAI_PRICES, Prices
from embedding_assets.text.usd import usd_text


@dataclass(frozen=True)
class Cost:
    """USD at batch price, and how many batches are not in it because nothing tells their tokens or price."""

    usd: float
    unknown: int

    @property
    def summary(self) -> str:
        """For a person: `0.0123`, `0.0123+` where some are not counted, `?` if nothing is known."""
        if self.unknown and not self.usd:
            return "?"
        return f"{usd_text(self.usd)}{'+' * bool(self.unknown)}"


def batch_cost(row: BatchSummary, prices: Prices = OPENAI_PRICES) -> float | None:
    """USD for one batch; None if its row does not tell its tokens, or its model's price is not known.

    OpenAI bills what it answered. Of a batch that ended with fewer embeddings than requests the share of its
    requests that were embedded is counted; one that goes on counts whole. A local batch has tokens only if OpenAI
    answered it at once, at the full price.
    """
    if row.is_deletion:
        return 0.0
    if row.token_count is None or row.model is None:
        return None
    whole = prices.usd(row.token_count, row.model, at_once=row.is_local)
    if whole is None or row.status.live or row.embedded_count is None or not row.request_count:
        return whole
    return whole * min(1.0, row.embedded_count / row.request_count)


def polled_cost(row: BatchSummary, embedded: int, requested: int, prices: Prices = OPENAI_PRICES) -> float | None:
    """USD for a batch whose outcome a poll has just found, which its row says only once it is marked.

    Nothing if it was polled and paid for before: its row was opened again.
    """
    if row.generation:
        return 0.0
    known = {"status": Status.COMPLETED, "embedded_count": embedded, "request_count": requested}
    return batch_cost(row.model_copy(update=known), prices)


def cost_of(rows: Iterable[BatchSummary], prices: Prices = OPENAI_PRICES) -> Cost:
    """What all of them cost together."""
    costs = [batch_cost(row, prices) for row in rows]
    known = [cost for cost in costs if cost is not None]
    return Cost(sum(known), len(costs) - len(known))
