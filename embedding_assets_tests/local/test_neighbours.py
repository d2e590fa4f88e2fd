"""Web pages get nothing from the embedded servers and change nothing in them; programs work as before."""

from __future__ import annotations

import httpx
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.local.conftest import Server, request_lines

FOREIGN_HOSTS = ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example"]
OWN_HOSTS = ["127.0.0.1", "localhost", "localhost:1", "bucket.localhost", "[::1]:80", "127.8.9.10"]


@pytest.fixture(params=["openai", "aws"])
def url(request: pytest.FixtureRequest, stack: EmbeddedStack) -> str:
    """Both servers."""
    return stack.openai_url if request.param == "openai" else stack.aws_url


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(url: str, host: str) -> None:
    """A page that lets its own name point to 127.0.0.1 sends that name: 403 and one line, whatever is asked."""
    for path in ("/", "/v1/batches", "/_control/counters", "/moto-api/data.json"):
        answer = httpx.get(url + path, headers={"Host": host})
        assert (answer.status_code, len(answer.text.splitlines())) == (403, 1)


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_its_own_host_is_answered(url: str, host: str) -> None:
    """Any loopback address, and names that cannot point elsewhere."""
    assert httpx.get(f"{url}/v1/models", headers={"Host": host}).status_code != 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_a_page_is_refused(url: str, headers: dict[str, str]) -> None:
    """Any Origin, also none that is told: a form's POST of text/plain needs nobody's permission."""
    answer = httpx.post(url, headers={"Content-Type": "text/plain", **headers}, content="{}")
    assert (answer.status_code, len(answer.text.splitlines())) == (403, 1)


def test_a_page_resets_nothing(server: Server, stack: EmbeddedStack) -> None:
    """The batch is there afterwards."""
    batch = server.run(request_lines(1))
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    assert httpx.post(f"{stack.openai_url}/_control/reset", headers=headers).status_code == 403
    assert server.client.batches.retrieve(batch.id).status == "completed"
