"""Tokens and what they cost: counted with a vocabulary that lies in a package, nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

USD_A_MILLION_TOKENS = {
    "text-embedding-3-small": 0.01,
    "text-embedding-3-large": 0.065,
    "text-embedding-ada-002": 0.05,
}
"""OpenAI's prices in the Batch API."""
AT_ONCE_FACTOR = 2
"""How much more an answer at once costs."""


def count_tokens(text: str) -> int:
    """Tokens as OpenAI's embedding models count them (cl100k_base)."""
    return len(_encoding().encode_ordinary(text))


def price_usd(tokens: int, model: str, *, at_once: bool = False) -> float | None:
    """What so many tokens cost in the Batch API, or `at_once`; None for a model whose price is not known here."""
    rate = USD_A_MILLION_TOKENS.get(model)
    return None if rate is None else tokens * rate * (AT_ONCE_FACTOR if at_once else 1) / 1_000_000


@dataclass(frozen=True)
class Prices:
    """USD for a million tokens in the Batch API, of every model; None: OpenAI's, as far as they are known here."""

    per_million: float | None = None

    def usd(self, tokens: int, model: str, *, at_once: bool = False) -> float | None:
        """What so many tokens cost in the Batch API, or `at_once`; None if the price is not known."""
        if self.per_million is None:
            return price_usd(tokens, model, at_once=at_once)
        return tokens * self.per_million * (AT_ONCE_FACTOR if at_once else 1) / 1_000_000


OPENAI_PRICES = Prices()


@lru_cache(maxsize=1)
def _encoding() -> Any:
    """The vocabulary, loaded on first use: it takes half a second that only a submission needs."""
    import bpe_openai

    return bpe_openai.get_encoding("cl100k_base")
