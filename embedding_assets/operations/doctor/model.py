"""Does OpenAI take the key, and does it have the model that `submit` will ask for?"""

from __future__ import annotations

from datetime import UTC, datetime

from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.operations.doctor.check import Check, Finding, Status

KEY = "OpenAI key"


def openai_checks(openai: OpenAIBatches, model: str) -> tuple[Check, ...]:
    """The key by a call that polling makes; then the model, which a restricted key may not read."""

    def key() -> Finding:
        next(openai.list_since(datetime.now(UTC)), None)
        return Finding(Status.OK, "the key is accepted and may list batches")

    def known() -> Finding:
        if openai.knows_model(model):
            return Finding(Status.OK, f"{model} is there")
        return Finding(
            Status.FAILED,
            f"OpenAI does not know the model {model}: set EMBEDDING_ASSETS_MODEL to one of this account's",
        )

    return (
        Check(KEY, key, "set OPENAI_API_KEY to a key that may use files and batches; is OPENAI_BASE_URL right?"),
        Check(
            "OpenAI model",
            known,
            f"whether {model} exists is not known: allow the key to read models, or ignore this",
            (KEY,),
            weight=Status.WARNING,
        ),
    )
