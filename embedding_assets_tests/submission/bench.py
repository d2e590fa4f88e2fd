"""What the tests of submitting share."""

from __future__ import annotations

from collections.abc import Callable

from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.submission.submit import Submission
from embedding_assets_tests.deltas import MODEL

ASKED = EmbeddingModel(MODEL, 8)
LEASE_SECONDS = 1.0

Submit = Callable[..., Submission]
