"""Every outcome that a batch can have at OpenAI, and every malformation of its files, with what must come of it.

The shapes of batches and lines are those that OpenAI documents or that users have recorded.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedding_assets_tests.answers import answer, encoded, failed_line, output_line, unfinished_line
from embedding_assets_tests.dagster_defs.runs.world import texts
from embedding_assets_tests.deltas import DIMENSIONS, vector
from embedding_assets_tests.reference import Expected

ASKED = 4
LIVE = {
    "validating": "VALIDATING",
    "in-progress": "IN_PROGRESS",
    "finalizing": "FINALIZING",
    "cancelling": "CANCELING",
}

Error = tuple[str, str, int | None, bool]
"""Reason, code, HTTP status, and whether a retry can help: a line of `errors.jsonl` without id and message."""

NO_ANSWER: Error = ("unfinished", "no_answer", None, True)
EXPIRED: Error = ("unfinished", "batch_expired", None, True)
CANCELLED: Error = ("unfinished", "batch_cancelled", None, True)
BROKEN: Error = ("failed", "malformed_line", None, True)
SERVER_ERROR: Error = ("failed", "server_error", 500, True)


@dataclass(frozen=True)
class Case:
    """One batch of four requests. What must come of it: `errors` by the number of the request.

    `planted` goes to the local OpenAI server; None: it does not know the batch. With `kept` the records are in
    the bucket, with `lost` OpenAI has deleted the output. `left_out` are answers that are nobody's, and further
    ones to an answered request. `reason` is a part of the row's `error`.
    """

    planted: Mapping[str, Any] | None
    status: str = "COMPLETED"
    errors: Mapping[int, Error] = field(default_factory=dict)
    left_out: tuple[int, int] = (0, 0)
    reason: str | None = None
    kept: bool = False
    lost: bool = False

    @property
    def embedded(self) -> int:
        """Requests that are published."""
        return ASKED - len(self.errors)

    def count(self, reason: str) -> int:
        """Requests that are not, for this reason."""
        return sum(error[0] == reason for error in self.errors.values())


def asked(name: str) -> list[Expected]:
    """The four records of a case."""
    seed = sum(ord(letter) * place for place, letter in enumerate(name, start=1)) * 10
    return texts(f"{name}-", ASKED, seed=seed)


def good(name: str, *numbers: int) -> str:
    """Good lines of a case's requests, in this order."""
    records = asked(name)
    return "".join(output_line(records[number].id, records[number].vector) for number in numbers)


def unusable(name: str, vectors: Mapping[int, Any]) -> dict[str, Any]:
    """Good lines, but for the requests that `vectors` gives something else."""
    lines = [
        output_line(one.id, vectors[number]) if number in vectors else good(name, number)
        for number, one in enumerate(asked(name))
    ]
    return {"output": "".join(lines)}


def all_of(error: Error) -> dict[int, Error]:
    """Every request ended so."""
    return dict.fromkeys(range(ASKED), error)


def _body(record_id: str, body: Any) -> str:
    return answer(record_id, {"status_code": 200, "request_id": "r", "body": body})


QUOTA = failed_line("some-failed-1", "insufficient_quota", 429)
"""As users report it: the top-level error is null."""
INVALID = answer(
    "some-failed-2",
    {
        "status_code": 400,
        "request_id": "r",
        "body": {"error": {"message": "Invalid request", "type": "invalid_request_error"}},
    },
)
INVALID_LINE = {"code": "invalid_json_line", "message": "This line is not parseable as valid JSON.", "line": 2}
TOKEN_LIMIT = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
LYING = {"total": 10, "completed": 1, "failed": 0}

OUTCOMES: dict[str, Case] = {
    "all-good": Case({"output": good("all-good", 0, 1, 2, 3)}),
    "some-failed": Case(
        {"output": good("some-failed", 0, 3), "errors": QUOTA + INVALID},
        errors={
            1: ("failed", "insufficient_quota", 429, True),
            2: ("failed", "invalid_request_error", 400, False),
        },
    ),
    "every-failed": Case(
        {"errors": "".join(failed_line(one.id) for one in asked("every-failed"))},
        status="FAILED",
        errors=all_of(SERVER_ERROR),
        reason="server_error",
    ),
    "expired-partly": Case(
        {
            "status": "expired",
            "output": good("expired-partly", 0),
            "errors": failed_line("expired-partly-1") + unfinished_line("expired-partly-2"),
        },
        status="EXPIRED",
        errors={1: SERVER_ERROR, 2: EXPIRED, 3: EXPIRED},
    ),
    "cancelled-partly": Case(
        {
            "status": "cancelled",
            "output": good("cancelled-partly", 2, 0),
            "errors": unfinished_line("cancelled-partly-1", "batch_cancelled"),
        },
        status="CANCELLED",
        errors={1: CANCELLED, 3: CANCELLED},
    ),
    "expired": Case({"status": "expired"}, status="EXPIRED", errors=all_of(EXPIRED), reason="expired"),
    "cancelled": Case({"status": "cancelled"}, status="CANCELLED", errors=all_of(CANCELLED), reason="cancelled"),
    "failed-validation": Case(
        {"status": "failed", "batch_errors": [INVALID_LINE]},
        status="FAILED",
        errors=all_of(("unfinished", "invalid_json_line", None, False)),
        reason="invalid_json_line: This line is not parseable as valid JSON.",
    ),
    "failed-limit": Case(
        {"status": "failed", "batch_errors": [TOKEN_LIMIT]},
        status="FAILED",
        errors=all_of(("unfinished", "token_limit_exceeded", None, True)),
        reason="token_limit_exceeded: Enqueued token limit reached",
    ),
    "failed-silently": Case(
        {"status": "failed"},
        status="FAILED",
        errors=all_of(("unfinished", "batch_failed", None, True)),
        reason="failed",
    ),
    "unknown": Case(
        None,
        status="FAILED",
        errors=all_of(("unfinished", "batch_not_found", None, True)),
        reason="does not know",
        kept=True,
    ),
    "output-deleted": Case(
        {"output": good("output-deleted", 0, 1, 2, 3)},
        status="FAILED",
        errors=all_of(NO_ANSWER),
        reason="deleted the output",
        lost=True,
    ),
}
"""The rows of the table of outcomes, but for those of batches that go on."""

MALFORMED: dict[str, Case] = {
    "reordered": Case({"output": good("reordered", 3, 1, 0, 2)}),
    "duplicated": Case({"output": good("duplicated", 0, 1, 1, 2, 3, 0)}, left_out=(0, 2)),
    "contradicting": Case(
        {"output": good("contradicting", 0, 1, 2, 3) + output_line("contradicting-2", vector(1, DIMENSIONS))},
        left_out=(0, 1),
    ),
    "answered-and-failed": Case(
        {
            "output": good("answered-and-failed", 0, 1, 2, 3),
            "errors": failed_line("answered-and-failed-0"),
        },
        left_out=(0, 1),
    ),
    "missing": Case({"output": good("missing", 0, 2)}, errors={1: NO_ANSWER, 3: NO_ANSWER}),
    "unknown-ids": Case(
        {
            "output": good("unknown-ids", 0, 1, 2, 3) + output_line("all-good-0", vector(7, DIMENSIONS)),
            "errors": failed_line("nobody"),
        },
        left_out=(2, 0),
    ),
    "broken-lines": Case(
        {"output": f"{good('broken-lines', 0)[:90]}\nnot json\n\n[]\n{good('broken-lines', 1, 2, 3)[:-40]}"},
        errors={0: BROKEN, 3: BROKEN},
        left_out=(2, 0),
    ),
    "no-unicode": Case(
        {
            "output_base64": base64.b64encode(
                b'{"custom_id": "no-unicode-0", "response": "\xff\xfe"}\n' + good("no-unicode", 1, 2, 3).encode()
            ).decode()
        },
        errors={0: BROKEN},
    ),
    "wrong-dimensions": Case(
        unusable("wrong-dimensions", {1: vector(1, DIMENSIONS - 1), 2: vector(1, 2 * DIMENSIONS)}),
        errors=dict.fromkeys((1, 2), ("failed", "wrong_dimensions", None, True)),
    ),
    "not-finite": Case(
        unusable(
            "not-finite",
            {
                0: [float("nan")] * DIMENSIONS,
                1: [float("inf"), *vector(1, DIMENSIONS - 1)],
                2: encoded([float("nan")] * DIMENSIONS),
            },
        ),
        errors=dict.fromkeys((0, 1, 2), ("failed", "not_finite", None, True)),
    ),
    "zeros": Case(
        unusable(
            "zeros", {0: [0] * DIMENSIONS, 1: [0.0, *[-0.0] * (DIMENSIONS - 1)], 2: encoded([0.0] * DIMENSIONS)}
        ),
        errors=dict.fromkeys((0, 1, 2), ("failed", "zero_vector", None, True)),
    ),
    "empty": Case(
        {
            "output": output_line("empty-0", [])
            + _body("empty-1", {"object": "list", "data": []})
            + _body("empty-2", {})
            + good("empty", 3)
        },
        errors={
            0: ("failed", "empty_vector", None, True),
            1: ("failed", "empty_vector", None, True),
            2: ("failed", "empty_answer", 200, True),
        },
    ),
    "no-vectors": Case(
        unusable("no-vectors", {0: "!!!!", 2: ["a"] * DIMENSIONS}),
        errors=dict.fromkeys((0, 2), ("failed", "malformed_vector", None, True)),
    ),
    "nothing-usable": Case(
        unusable("nothing-usable", {number: [] for number in range(ASKED)}),
        status="FAILED",
        errors=all_of(("failed", "empty_vector", None, True)),
        reason="empty_vector",
    ),
    "empty-error-file-id": Case(
        {"output": good("empty-error-file-id", 0, 1, 2, 3), "fields": {"error_file_id": ""}}
    ),
    "empty-file-ids": Case(
        {"fields": {"output_file_id": "", "error_file_id": ""}},
        status="FAILED",
        errors=all_of(NO_ANSWER),
        reason="completed",
    ),
    "completed-without-output": Case({}, status="FAILED", errors=all_of(NO_ANSWER), reason="completed"),
    "lying-counts": Case(
        {"status": "expired", "output": good("lying-counts", 1, 2), "fields": {"request_counts": LYING}},
        status="EXPIRED",
        errors={0: EXPIRED, 3: EXPIRED},
    ),
    "no-counts": Case({"output": good("no-counts", 0, 1, 2, 3), "fields": {"request_counts": None}}),
    "base64": Case(
        {"output": "".join(output_line(one.id, encoded(one.vector)) for one in asked("base64"))}, kept=True
    ),
    "both-encodings": Case(unusable("both-encodings", {0: encoded(asked("both-encodings")[0].vector)}), kept=True),
}
"""What the files of a batch can have wrong, and what only looks so."""

ENDED = OUTCOMES | MALFORMED


def record_lines(name: str) -> bytes:
    """What was submitted."""
    lines = [json.dumps({"id": one.id, "document": one.document}) for one in asked(name)]
    return "\n".join(lines).encode()


def published(name: str) -> list[Expected]:
    """The records of a case that must be published."""
    return [one for number, one in enumerate(asked(name)) if number not in ENDED[name].errors]
