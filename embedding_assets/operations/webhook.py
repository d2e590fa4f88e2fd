"""Posting alerts to a webhook. Its address is a secret: no text names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from embedding_assets.errors import ServiceError
from embedding_assets.operations.alerts import Alert

TIMEOUT_SECONDS = 10.0

Shape = Literal["json", "slack"]


@dataclass(frozen=True)
class Webhook:
    """Where alerts are posted, and in which shape: every field as JSON, or one `text` as Slack takes it."""

    url: str
    shape: Shape = "json"

    def post(self, alert: Alert) -> None:
        """Post one alert. Raises ServiceError if it was not taken: it is to be posted again later."""
        import httpx

        try:
            answer = httpx.post(self.url, json=self._body(alert), timeout=TIMEOUT_SECONDS, trust_env=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceError(f"the webhook cannot be reached: {type(error).__name__}") from None
        if not answer.is_success:
            raise ServiceError(f"the webhook answered {answer.status_code}")

    def _body(self, alert: Alert) -> dict[str, Any]:
        return alert.document() if self.shape == "json" else {"text": alert.text()}
