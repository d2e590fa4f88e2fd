"""Running the command line: in this process, as `embedding-assets` itself does, with what it printed."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from embedding_assets.cli.main import run

SECRETS = {
    "OPENAI_API_KEY": "sk-proj-value-that-nobody-may-see",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-that-nobody-may-see",
    "AWS_SESSION_TOKEN": "session-token-that-nobody-may-see",
}
"""Set in every environment of these tests; no command may ever print one of them."""


GOOD = {"id": "one", "text": "first"}
"""A record that can be submitted."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    stdout: str
    stderr: str

    def __post_init__(self) -> None:
        printed = self.stdout + self.stderr
        shown = [name for name, value in SECRETS.items() if value in printed]
        assert not shown, f"the value of {shown[0]} was printed"

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """The one line on stderr, of a command that failed; no traceback, on stdout at most its JSON."""
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        return self.last_error

    @property
    def last_error(self) -> str:
        """The last line on stderr, of a command that reported its progress before it failed."""
        lines = self.stderr.splitlines()
        assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True]
        assert "Traceback" not in self.stderr
        if self.stdout:
            assert list(self.json) == ["error"], self.stdout
        return lines[-1].removeprefix("error: ")


def command(*arguments: str) -> Outcome:
    """`embedding-assets ARGUMENTS…` in the environment of now; with `--json` a failure is a document too."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code: object = None
    with (
        mock.patch.object(sys, "argv", ["embedding-assets", *arguments]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            run()
        except SystemExit as ended:
            code = ended.code
    assert code is None or isinstance(code, int)
    if code and "--json" in arguments and "--" not in arguments:
        json.loads(stdout.getvalue())
    return Outcome(code or 0, stdout.getvalue(), stderr.getvalue())


def failed(*arguments: str) -> str:
    """The error line of a command that must end with 1."""
    outcome = command(*arguments)
    assert outcome.code == 1, outcome
    return outcome.error


def failed_at_last(*arguments: str) -> str:
    """The last line on stderr of a command that told of its progress before it failed."""
    outcome = command(*arguments)
    assert outcome.code == 1, outcome
    return outcome.last_error
