"""`serve` over real HTTP: what it answers, what it refuses, and no failed request while versions are published."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.serving.conftest import Served

LOG = logging.getLogger(__name__)
THREADS = 4


def test_it_answers_as_the_command_does(bench: Workbench, served: Served, publish: Callable[[int], str]) -> None:
    """A search, with a filter, of an older version; the manifest; a database without a version is no obstacle."""
    assert served.client.get("/healthz").json()["waiting"].keys() <= {"lines", "words"}
    first, second = publish(1), publish(2)
    served.until_ready()
    served.until(second)
    found = served.client.get("/v1/lines/search", params={"q": "text 21", "k": 3}).json()
    assert found == command("search", "lines", "text 21", "-k", "3", "--json").json
    where = {"q": "text", "k": "9", "where": json.dumps({"number": 12})}
    assert [hit["id"] for hit in served.client.get("/v1/lines/search", params=where).json()["hits"]] == ["r1-2"]
    older = served.client.get("/v1/lines/search", params={"q": "text", "k": 50, "version": first}).json()
    assert (older["version"], {hit["batch_id"] for hit in older["hits"]}) == (first, {"b1"})
    assert served.client.get("/v1/lines").json() == bench.pointer().manifest.model_dump(mode="json")
    assert served.client.get("/v1").json() == {"databases": ["lines", "words"]}
    page = served.client.get("/")
    assert "https://" not in page.text
    assert "http://" not in page.text
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "code", "error"),
    [
        ("/v1/lines/search", 400, "q is missing: the text to look for"),
        ("/v1/lines/search?q=a&k=0", 400, "k must be a whole number from 1 to 1000"),
        ("/v1/lines/search?q=a&k=many", 400, "k must be a whole number from 1 to 1000"),
        ("/v1/lines/search?q=a&where=%7B", 400, "where is not JSON"),
        ("/v1/lines/search?q=a&where=%5B%5D", 400, "where must be a JSON object, Chroma's filter of metadata"),
        ("/v1/lines/search?q=a&where=%7B%22%24odd%22%3A1%7D", 400, "where is no filter that Chroma takes: "),
        ("/v1/lines/search?q=a&version=none", 404, "lines has no version 'none'"),
        ("/v1/words/search?q=a", 404, "words has no published version yet"),
        ("/v1/words", 404, "words has no published version yet"),
        ("/v1/pages", 404, "no database 'pages' is served; there are lines, words"),
    ],
)
def test_a_wrong_request_is_one_clear_line(
    served: Served, publish: Callable[[int], str], path: str, code: int, error: str
) -> None:
    """As JSON, with the code that says whose fault it is."""
    publish(1)
    served.until_ready()
    response = served.client.get(path)
    assert response.status_code == code, response.text
    assert response.json()["error"].startswith(error)
    assert len(response.json()["error"].splitlines()) == 1


def test_another_hosts_name_is_refused(served: Served) -> None:
    """A web page that resolves its own name to this machine reads nothing here."""
    assert served.client.get("/v1", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("versions", "requests"),
    [
        pytest.param(3, 200, id="few"),
        pytest.param(20, 10_000, id="many", marks=pytest.mark.long),
    ],
)
def test_no_request_fails_while_versions_are_published(
    bench: Workbench, served: Served, publish: Callable[[int], str], versions: int, requests: int
) -> None:
    """Each answer is one whole version: as many records as it has, and none older than one answered before."""
    sizes = {publish(1): 5}
    served.until_ready()
    answered: Counter[str] = Counter()
    problems: list[str] = []
    done = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=served.client.base_url, timeout=60) as client:
            seen: list[str] = []
            while not done.is_set() or answered.total() < requests:
                response = client.get("/v1/lines/search", params={"q": "text", "k": 1000})
                if response.status_code != 200:
                    problems.append(response.text)
                    return
                found = response.json()
                answered[found["version"]] += 1
                seen.append(found["version"])
                if found["version"] in sizes and len(found["hits"]) != sizes[found["version"]]:
                    problems.append(f"{found['version']} has {len(found['hits'])} records")

    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        asking = [pool.submit(ask, number) for number in range(THREADS)]
        try:
            for number in range(2, versions + 1):
                version = publish(number)
                sizes[version] = 5 * number
                served.until(version)
        finally:
            done.set()
        for one in asking:
            one.result()
    LOG.warning("%s requests in %.1f s: %s", answered.total(), time.monotonic() - started, dict(answered))
    assert problems == []
    assert answered.total() >= requests
    assert len(answered) > versions / 2
