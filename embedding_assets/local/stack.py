"""The embedded stack: S3, DynamoDB and OpenAI as two local processes, ready to use."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3

from embedding_assets.errors import InputError, ServiceError
from embedding_assets.ledger.table_definition import create_table
from embedding_assets.local.extra import require_extra
from embedding_assets.processes.file_lock import alone
from embedding_assets.processes.quiet_environment import with_this_package

READY_SECONDS = 60
READY_POLL_SECONDS = 0.02
GRACE_SECONDS = 5
STDERR_LINES = 5
REGION = "us-east-1"
FAKE_KEY = "key-of-the-embedded-stack"


@dataclass(frozen=True, slots=True)
class _Server:
    """One started server process."""

    module: str
    process: subprocess.Popen[bytes]
    ready_file: Path
    stderr_file: Path

    def wait(self, deadline: float) -> str:
        """The base URL, once it serves. Raises ServiceError if it ends or is silent until `deadline`."""
        while not self.ready_file.exists():
            if self.process.poll() is not None:
                raise ServiceError(f"{self.module} ended at start with {self.process.returncode}: {self._last()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.module} did not serve within {READY_SECONDS} s: {self._last()}")
            time.sleep(READY_POLL_SECONDS)
        return self.ready_file.read_text(encoding="utf-8")

    def stop(self) -> None:
        """End the process: politely, then for sure."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def _last(self) -> str:
        lines = self.stderr_file.read_text(encoding="utf-8", errors="replace").split("\n")
        return " | ".join([line.strip() for line in lines if line.strip()][-STDERR_LINES:]) or "no message"


class EmbeddedStack:
    """Both servers while the `with` block lasts, with the table and the bucket made.

    `embedder` is `hash` or `minilm`; `latency` seconds, give or take `jitter`, is what a batch takes.
    `state_dir` gets the servers' logs and all that they hold, and a stack that is started there later goes on from
    it; a kill may lose what came in the last second. By default nothing is kept.
    """

    def __init__(
        self,
        *,
        embedder: str = "hash",
        latency: float = 0,
        jitter: float = 0,
        state_dir: Path | None = None,
        table_name: str = "embedding-assets",
        bucket: str = "embedding-assets",
    ) -> None:
        self._openai_options = [f"--embedder={embedder}", f"--latency={latency}", f"--jitter={jitter}"]
        self._state_dir = state_dir
        self.table_name = table_name
        self.bucket = bucket
        self._exit = ExitStack()
        self._openai_url = ""
        self._aws_url = ""
        self.pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start both.

        Raises ServiceError with the last lines of a server that does not start, MissingExtraError without the
        extra.
        """
        require_extra()
        with ExitStack() as exits:
            directory = self._state_dir
            if directory is None:
                temporary = tempfile.TemporaryDirectory(prefix="embedding-assets-", ignore_cleanup_errors=True)
                directory = Path(exits.enter_context(temporary))
            directory.mkdir(parents=True, exist_ok=True)
            # Two stacks would write over what the other keeps.
            exits.enter_context(alone(directory, 0))
            kept = self._state_dir is not None
            aws = self._start(exits, "aws_server", directory, [f"--keep={directory / 'aws'}"] if kept else [])
            options = [*self._openai_options, f"--data-dir={directory / 'openai-files'}"]
            options += ["--keep"] if kept else []
            openai = self._start(exits, "openai_server", directory, options)
            deadline = time.monotonic() + READY_SECONDS
            self._aws_url = aws.wait(deadline)
            self._prepare()
            self._openai_url = openai.wait(deadline)
            self._exit = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _start(self, exits: ExitStack, name: str, directory: Path, options: Sequence[str]) -> _Server:
        module = f"embedding_assets.local.{name}"
        ready_file, stderr_file = directory / f"{name}.url", directory / f"{name}.log"
        ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", module, f"--ready-file={ready_file}", f"--parent-pid={os.getpid()}"]
        with stderr_file.open("wb") as log:
            process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                start_new_session=True,
                stderr=log,
                env=with_this_package(os.environ),
            )
        server = _Server(module, process, ready_file, stderr_file)
        exits.callback(server.stop)
        self.pids[name] = process.pid
        return server

    def _prepare(self) -> None:
        session = boto3.Session(aws_access_key_id=FAKE_KEY, aws_secret_access_key=FAKE_KEY, region_name=REGION)
        dynamodb = session.client("dynamodb", endpoint_url=self._aws_url)
        if self.table_name not in dynamodb.list_tables()["TableNames"]:
            create_table(dynamodb, self.table_name)
        session.client("s3", endpoint_url=self._aws_url).create_bucket(Bucket=self.bucket)

    @property
    def aws_url(self) -> str:
        """Endpoint of S3 and DynamoDB."""
        return self._url(self._aws_url)

    @property
    def openai_url(self) -> str:
        """Base URL of the OpenAI server, without `/v1`; the control API is below `/_control`."""
        return self._url(self._openai_url)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point boto3, the OpenAI SDK and our settings at this stack."""
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ACCESS_KEY_ID": FAKE_KEY,
            "AWS_SECRET_ACCESS_KEY": FAKE_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "OPENAI_BASE_URL": f"{self.openai_url}/v1",
            "OPENAI_API_KEY": FAKE_KEY,
            "DYNAMODB_TABLE_NAME": self.table_name,
            "CHROMADB_BUCKET": self.bucket,
        }

    @staticmethod
    def _url(url: str) -> str:
        if not url:
            raise InputError("the embedded stack is not started; use it in a with statement")
        return url
