"""The SDK's HTTP client within a limit: every try counts, slots come back, streamed bodies keep theirs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai as openai_sdk
import pytest

from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.errors import NotFoundError, ServiceError, TransientError
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.limited_client import LimitedClient
from embedding_assets_tests.conftest import OpenAIServer

MOST = 8
RETRIEVE = "GET /v1/batches/{id}"
CONTENT = "GET /v1/files/{id}/content"


@pytest.fixture
def limit() -> AdaptiveLimit:
    return AdaptiveLimit(MOST)


@pytest.fixture
def limited(stack: EmbeddedStack, openai_server: OpenAIServer, limit: AdaptiveLimit) -> Iterator[OpenAIBatches]:
    """As the product makes it, with the SDK's own tries."""
    with openai_sdk.OpenAI(
        base_url=stack.environment["OPENAI_BASE_URL"],
        api_key=stack.environment["OPENAI_API_KEY"],
        max_retries=4,
        http_client=LimitedClient(limit),
    ) as sdk:
        yield OpenAIBatches(sdk)


def all_slots_are_free(limit: AdaptiveLimit) -> bool:
    """Whether as many calls as the window allows may begin at once."""
    for _ in range(limit.window):
        limit.begin()
    for _ in range(limit.window):
        limit.end()
    return True


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_try_halves_the_window_also_if_the_next_one_succeeds(
    limited: OpenAIBatches, openai_server: OpenAIServer, limit: AdaptiveLimit, status: int
) -> None:
    """The SDK tries again by itself: nobody but this client sees the refusal."""
    openai_server.plant("b1")
    openai_server.fault(RETRIEVE, status=status, retry_after=0.05)
    assert limited.retrieve("b1").id == "b1"
    assert openai_server.requests(RETRIEVE) == 2
    assert limit.window == MOST // 2
    for _ in range(30):
        limited.retrieve("b1")
    assert limit.window == MOST


def test_a_storm_leaves_one_call_at_once_and_a_bounded_number_of_tries(
    limited: OpenAIBatches, openai_server: OpenAIServer, limit: AdaptiveLimit
) -> None:
    """Eight threads against 429: five tries each; afterwards calls go one by one, and none was lost."""
    openai_server.fault(RETRIEVE, times=None, status=429, retry_after=0.02)

    def ask(number: int) -> float | None:
        with pytest.raises(TransientError) as raised:
            limited.retrieve(f"b{number}")
        assert raised.value.throttled
        return raised.value.retry_after

    with ThreadPoolExecutor(MOST) as pool:
        assert list(pool.map(ask, range(MOST))) == [0.02] * MOST
    assert openai_server.requests(RETRIEVE) == 5 * MOST
    assert limit.window == 1
    openai_server.control.delete("/_control/faults")
    openai_server.control.post("/_control/counters/reset")
    openai_server.plant("b1")
    assert limited.retrieve("b1").id == "b1"
    assert all_slots_are_free(limit)


def test_a_refusal_holds_back_everybody_until_it_is_over(
    limited: OpenAIBatches, openai_server: OpenAIServer, limit: AdaptiveLimit
) -> None:
    """Retry-After of one call is a pause for all."""
    openai_server.fault(RETRIEVE, status=503, retry_after=30)
    begun = limit.begin()
    limit.end()
    limit.throttled(begun, 0.3)
    assert 0 < limit.pause_seconds <= 0.3
    openai_server.control.delete("/_control/faults")
    openai_server.plant("b1")
    assert limited.retrieve("b1").id == "b1"
    assert limit.pause_seconds == 0


def test_every_ending_gives_its_slot_back(
    limited: OpenAIBatches, openai_server: OpenAIServer, limit: AdaptiveLimit, tmp_path: Path
) -> None:
    """A whole body, one that is cut, a 404, a refused key, a connection that is reset."""
    planted = openai_server.plant("b1", output="line\n" * 100_000)
    file_id = planted["output_file_id"]
    for _ in range(MOST + 1):
        limited.download(file_id, tmp_path / "file")
        with pytest.raises(NotFoundError):
            limited.download("file-none", tmp_path / "none")
    openai_server.fault(CONTENT, truncate_after=1000)
    limited.download(file_id, tmp_path / "file")
    assert (tmp_path / "file").stat().st_size == 500_000
    openai_server.fault(CONTENT, times=MOST, status=401)
    for _ in range(MOST):
        with pytest.raises(ServiceError):
            limited.download(file_id, tmp_path / "file")
    openai_server.control.delete("/_control/faults")
    openai_server.fault(RETRIEVE, times=5, reset=True)
    with pytest.raises(TransientError):
        limited.retrieve("b1")
    assert limit.window == MOST
    assert all_slots_are_free(limit)


def test_a_streamed_body_keeps_its_slot_until_it_is_closed(
    limited: OpenAIBatches, openai_server: OpenAIServer, limit: AdaptiveLimit
) -> None:
    """A download that goes on is a call under way."""
    planted = openai_server.plant("b1", output="line\n" * 100_000)
    with (
        ThreadPoolExecutor(1) as pool,
        limited.sdk.files.with_streaming_response.content(planted["output_file_id"]),
    ):
        while limit.window > 1:
            limit.throttled(limit.resend())
        waiting = pool.submit(limited.retrieve, "b1")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
    assert waiting.result(timeout=30).id == "b1"
    assert all_slots_are_free(limit)
