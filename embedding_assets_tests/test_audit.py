"""`make audit` looks up every pinned package; one that is known to be weak, or was not looked up, fails it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINS = {
    line.partition("==")[0].lower().replace("_", "-").replace(".", "-")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line
}


@contextmanager
def advisories(weak: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """A service in OSV's protocol that knows of one weak package: its URL, and the packages it was asked about."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = body["package"]["name"]
            asked.append(name)
            package = {"name": name, "ecosystem": "PyPI"}
            known = {"vulns": [{"id": "OSV-2026-1", "summary": "a hole", "affected": [{"package": package}]}]}
            answer = json.dumps(known if name == weak else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *given: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def audit(service: str) -> subprocess.CompletedProcess[str]:
    """What `make audit` runs, with that service."""
    found = re.search(r"-m pip_audit (.+) \|\|", (ROOT / "Makefile").read_text())
    assert found is not None
    command = [sys.executable, "-m", "pip_audit", *shlex.split(found[1])]
    command += ["--vulnerability-service", "osv", "--osv-url", service]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_asks_about_every_pin() -> None:
    """And is a success if the service knows of nothing."""
    with advisories() as (service, asked):
        done = audit(service)
    assert done.returncode == 0, done.stderr
    assert set(asked) == PINS


def test_a_weak_package_fails_it() -> None:
    """By its name and the advisory's."""
    with advisories("chromadb") as (service, _):
        done = audit(service)
    assert done.returncode == 1
    assert re.search(r"^chromadb +[\d.]+ +OSV-2026-1", done.stdout, re.MULTILINE), done.stdout


def test_a_service_that_is_away_fails_it() -> None:
    """Nobody listens."""
    assert audit("http://127.0.0.1:9/v1/query").returncode != 0
