"""Errors in the shape in which OpenAI's API answers them."""

from __future__ import annotations

from typing import Any

from embedding_assets.errors import EmbeddingAssetsError


class ApiError(EmbeddingAssetsError):
    """An HTTP answer other than 200, or the answer to one request of a batch."""

    def __init__(
        self, status_code: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.param = param
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        """`{"error": {"message", "type", "param", "code"}}`."""
        kind = "server_error" if self.status_code >= 500 else "invalid_request_error"
        if self.status_code == 429:
            kind = self.code if self.code == "insufficient_quota" else "requests"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def not_found(kind: str, identifier: str) -> ApiError:
    """404 for an unknown id, worded as OpenAI words it."""
    return ApiError(404, f"No {kind} found with id '{identifier}'.", param="id")
