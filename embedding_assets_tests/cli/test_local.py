"""`local` as a process: its settings lead to servers that answer, and it ends as every command does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from embedding_assets.bucket.aws import s3_client
from embedding_assets_tests.dagster_defs.runs.processes import start_command

WAIT_SECONDS = 60


def test_its_settings_lead_to_its_servers(tmp_path: Path) -> None:
    """They are printed and kept as lines for a shell; a signal ends the servers."""
    kept = tmp_path / "kept"
    process = start_command(["local", "--dir", str(kept), "--latency", "0"], dict(os.environ), tmp_path)
    settings = kept / "settings.sh"
    stderr = tmp_path / "stderr"
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (stderr.exists() and "ready;" in stderr.read_text()):
            assert process.is_alive(), stderr.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lines = settings.read_text().splitlines()
        assert (tmp_path / "stdout").read_text().splitlines() == lines
        values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        assert {"AWS_ENDPOINT_URL", "OPENAI_BASE_URL", "DYNAMODB_TABLE_NAME", "DAGSTER_HOME"} < values.keys()
        os.environ.update(values)
        assert [one["Name"] for one in s3_client().list_buckets()["Buckets"]] == [values["CHROMADB_BUCKET"]]
        os.kill(process.ident or 0, signal.SIGTERM)
        process.join(WAIT_SECONDS)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert stderr.read_text().splitlines()[-1] == "error: interrupted by SIGTERM"
