"""Joining: every request ends up embedded, failed or unfinished, exactly once, whatever the files hold."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_assets.openai_batches.reconcile import Reconciled, reconcile
from embedding_assets.openai_batches.requests import Request, Requests, read_input_file, read_records
from embedding_assets.rows.arrow import ROWS_AT_ONCE, RowFile
from embedding_assets_tests.answers import encoded, failed_line, line, output_line, several_line, unfinished_line
from embedding_assets_tests.deltas import MODEL, record, vector
from embedding_assets_tests.reference import reference_hash

Kind = Literal["good", "base64", "error", "expired", "nan", "long", "empty", "several", "cut", "no id"]
KINDS: tuple[Kind, ...] = (
    "good",
    "base64",
    "error",
    "expired",
    "nan",
    "long",
    "empty",
    "several",
    "cut",
    "no id",
)
GOOD = ("good", "base64")
ASKED = [f"r{number}" for number in range(6)]
UNKNOWN = ["stranger", "r"]


@dataclass(frozen=True)
class Answer:
    """One line of the output or error file; `seed` tells its vector from others."""

    id: str
    kind: Kind
    seed: int
    in_errors: bool

    def text(self) -> str:
        numbers = vector(self.seed)
        match self.kind:
            case "good":
                return output_line(self.id, numbers)
            case "base64":
                return output_line(self.id, encoded(numbers))
            case "error":
                return failed_line(self.id)
            case "expired":
                return unfinished_line(self.id)
            case "nan":
                return output_line(self.id, [float("nan"), *numbers[1:]])
            case "long":
                return output_line(self.id, [*numbers, 1.0])
            case "empty":
                return output_line(self.id, [])
            case "several":
                return several_line(self.id, [numbers, vector(self.seed + 1)])
            case "cut":
                return output_line(self.id, numbers)[:90] + "\n"
            case "no id":
                return "{}\n"


def run(
    folder: Path,
    requests: Requests,
    output: str,
    errors: str = "",
    status: str = "completed",
    dimensions: int | None = 8,
) -> tuple[Reconciled, dict[str, bytes]]:
    """What reconciling finds, and the hash of each row that it wrote."""
    files = folder / "output", folder / "errors"
    for path, text in zip(files, (output, errors), strict=True):
        path.write_bytes(text.encode())
    arrow = folder / "delta.arrow"
    found = reconcile(requests, dimensions, files, status, arrow)
    rows = [row for batch in RowFile(arrow).batches() for row in batch.to_pylist()] if arrow.exists() else []
    assert len({row["id"] for row in rows}) == len(rows)
    return found, {row["id"]: row["hash"] for row in rows}


def asked(ids: list[str]) -> Requests:
    return Requests({name: Request(name, f"document of {name}", None) for name in ids})


ANSWERS = st.lists(
    st.builds(
        Answer,
        id=st.sampled_from([*ASKED, *UNKNOWN]),
        kind=st.sampled_from(KINDS),
        seed=st.integers(0, 5),
        in_errors=st.booleans(),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers=ANSWERS, status=st.sampled_from(["completed", "expired", "cancelled", "failed", "not_found"]))
def test_any_mix_of_answers_balances_and_the_first_good_one_wins(answers: list[Answer], status: str) -> None:
    """requested = embedded + failed + unfinished, computed a second time from the same lines."""
    output = [one for one in answers if not one.in_errors]
    errors = [one for one in answers if one.in_errors]
    with tempfile.TemporaryDirectory() as name:
        good, bad = ("".join(one.text() for one in part) for part in (output, errors))
        found, rows = run(Path(name), asked(ASKED), good, bad, status)
    first_good: dict[str, int] = {}
    first_bad: dict[str, str] = {}
    for one in [*output, *errors]:
        if one.kind == "no id" or one.id not in ASKED:
            continue
        if one.kind in GOOD:
            first_good.setdefault(one.id, one.seed)
        else:
            first_bad.setdefault(one.id, "unfinished" if one.kind == "expired" else "failed")
    reasons = {name: first_bad.get(name, "unfinished") for name in ASKED if name not in first_good}
    assert rows == {
        name: reference_hash(record(name, seed, f"document of {name}")) for name, seed in first_good.items()
    }
    assert found.written == len(first_good)
    assert {name: error.reason for name, error in found.errors.items()} == reasons
    assert found.written + found.count("failed") + found.count("unfinished") == len(ASKED)
    strange = [one for one in [*output, *errors] if one.kind == "no id" or one.id not in ASKED]
    assert found.unknown == len(strange)
    assert found.unknown_example == next((one.id for one in strange if one.kind != "no id"), None)


SHARING = st.lists(st.sampled_from(ASKED), min_size=len(ASKED), max_size=len(ASKED))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers=ANSWERS, sharing=SHARING, status=st.sampled_from(["completed", "expired"]))
def test_an_answer_is_for_each_record_that_shares_its_request(
    answers: list[Answer], sharing: list[str], status: str
) -> None:
    """Every record ends as the request does whose answer it waits for, whatever the answers are."""
    requests = Requests(
        {
            name: Request(name, f"document of {name}", None, request_id=shared)
            for name, shared in zip(ASKED, sharing, strict=True)
        }
    )
    with tempfile.TemporaryDirectory() as name:
        found, rows = run(Path(name), requests, "".join(one.text() for one in answers), "", status)
    first_good: dict[str, int] = {}
    for one in answers:
        if one.kind in GOOD:
            first_good.setdefault(one.id, one.seed)
    assert rows == {
        name: reference_hash(record(name, first_good[shared], f"document of {name}"))
        for name, shared in zip(ASKED, sharing, strict=True)
        if shared in first_good
    }
    assert found.written + found.count("failed") + found.count("unfinished") == len(ASKED)
    assert found.errors.keys() == set(ASKED) - rows.keys()
    assert found.unknown == sum(one.kind == "no id" or one.id not in sharing for one in answers)


def in_file(folder: Path, text: str, *, sent: bool = False) -> Requests:
    """Requests as they are read from a file."""
    path = folder / "asked"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return (read_input_file if sent else read_records)(path, "asked.jsonl")


ODD_IDS = ["a", "b", 7, "7", "", None, True, ["a"], {"a": 1}, 1.5]
ODD_RECORDS = st.one_of(
    st.builds(
        lambda record_id, document, metadata: line({"id": record_id, "document": document, "metadata": metadata}),
        st.sampled_from(ODD_IDS),
        st.sampled_from(["d", 7, None, ["d"], {}]),
        st.sampled_from([None, {"k": 1}, {"k": []}, {"k": {"l": 1}}, [], {"$k": 1}]),
    ),
    st.sampled_from(["{", "[]", "null", "7", '"a"', "\ufeff", "  ", '{"id": "a", "docu', '{"id": "\\ud800"}']),
)
ODD_REQUESTS = st.one_of(
    st.builds(
        lambda record_id, body: line({"custom_id": record_id, "body": body}),
        st.sampled_from(ODD_IDS),
        st.sampled_from(
            [
                {"input": "t", "model": MODEL},
                {"input": "t", "model": "other"},
                {"input": ["t"], "dimensions": 8},
                {"input": ["t", "u"]},
                {"input": [1, 2]},
                {"input": 7, "dimensions": True, "model": 7},
                {},
                None,
                [],
                "t",
            ]
        ),
    ),
    st.sampled_from(["{", "[]", "null", "\ufeff", '{"custom_id": "a", "bo', '{"custom_id": "\\ud800"}']),
)
ODD_ANSWERS = st.one_of(
    st.builds(
        lambda record_id, kind, seed: (
            Answer("ID", kind, seed, False).text().replace('"ID"', json.dumps(record_id))
        ),
        st.sampled_from([*ODD_IDS, "stranger"]),
        st.sampled_from(KINDS),
        st.integers(0, 3),
    ),
    st.binary(max_size=30).map(lambda data: data.decode("latin-1")),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked_for=st.one_of(
        st.tuples(st.just(False), st.lists(ODD_RECORDS, max_size=6)),
        st.tuples(st.just(True), st.lists(ODD_REQUESTS, max_size=6)),
    ),
    answers=st.lists(ODD_ANSWERS, max_size=8),
    dimensions=st.sampled_from([8, None]),
    status=st.sampled_from(["completed", "failed", "expired"]),
)
def test_any_mix_of_odd_lines_balances(
    asked_for: tuple[bool, list[str]], answers: list[str], dimensions: int | None, status: str
) -> None:
    """Nothing raises. Every line that asks for something is embedded, failed or unfinished, exactly once."""
    sent, lines = asked_for
    with tempfile.TemporaryDirectory() as name:
        requests = in_file(Path(name), "\n".join(lines), sent=sent)
        output = "\n".join(answers)
        found, rows = run(Path(name), requests, output, status=status, dimensions=dimensions)
    asking = [one for text in lines for one in text.split("\n") if one.strip("\ufeff \r\n")]
    assert found.written + found.count("failed") + found.count("unfinished") == len(asking) == requests.lines
    assert len(rows) == found.written
    listed = [error.id for error in found.all_errors()]
    assert len(listed) == len(asking) - len(rows)
    first_lines = [one.id for one in requests.by_id.values()]
    assert sorted([*rows, *found.errors]) == sorted(first_lines)
    assert {error.reason for error in found.line_errors} <= {"failed"}
    assert all(len(error.message) < 400 for error in found.all_errors())
    unvouched = {one.id for one in requests.by_id.values() if one.problem is not None or one.inputs > 1}
    assert not unvouched & rows.keys()


def test_metadata_that_chroma_refuses_fails_its_record_alone(tmp_path: Path) -> None:
    """Answered or not, and whatever with: the others are published."""
    text = line({"id": "r0", "metadata": {"tags": []}}) + line({"id": "r1", "document": "d"})
    answers = [output_line("r0", vector(0)), failed_line("r0"), ""]
    for answer in answers:
        found, rows = run(tmp_path, in_file(tmp_path, text), answer + output_line("r1", vector(1)))
        assert rows == {"r1": reference_hash(record("r1", 1, "d"))}
        [error] = found.all_errors()
        assert (error.id, error.reason, error.code, error.retryable) == (
            "r0",
            "failed",
            "metadata_refused",
            False,
        )
        assert "asked.jsonl line 1: metadata 'tags'" in error.message


def test_one_vector_for_several_inputs_is_nobodys(tmp_path: Path) -> None:
    """Which of the two texts was embedded nobody can say; a list of one text, or of tokens, is one input."""
    inputs = {"r0": ["alpha", "beta"], "r1": ["gamma"], "r2": [101, 102], "r3": [[101], [102]]}
    text = "".join(line({"custom_id": name, "body": {"input": asked}}) for name, asked in inputs.items())
    output = "".join(output_line(name, vector(number)) for number, name in enumerate(inputs))
    found, rows = run(tmp_path, in_file(tmp_path, text, sent=True), output)
    assert rows == {
        "r1": reference_hash(record("r1", 1, "gamma")),
        "r2": reference_hash(record("r2", 2, None)),
    }
    assert {name: error.code for name, error in found.errors.items()} == dict.fromkeys(
        ("r0", "r3"), "several_inputs"
    )


def test_an_id_of_two_records_has_no_vector(tmp_path: Path) -> None:
    """The answers do not say which of them they are for, and further ones are not taken instead."""
    text = line({"id": "a", "document": "d"}) + line({"id": "a", "document": "e"}) + line({"id": "b"})
    output = output_line("a", vector(0)) + output_line("a", vector(1)) + output_line("b", vector(2))
    found, rows = run(tmp_path, in_file(tmp_path, text), output)
    assert rows == {"b": reference_hash(record("b", 2, None))}
    assert [(error.id, error.code) for error in found.all_errors()] == [("a", "ambiguous_id")] * 2
    assert (found.unknown, found.count("failed")) == (0, 2)


def test_a_line_that_openai_names_has_its_own_reason(tmp_path: Path) -> None:
    """Only if it is OpenAI's file that names the requests: the lines of records are numbered by others."""
    batch_error, line_errors = ("invalid_json_line", "all"), {2: ("invalid_url", "its own"), 3: ("", "told")}
    text = "".join(line({"id": name, "custom_id": name, "body": {"input": "t"}}) for name in ("a", "b", "c"))
    nothing = tmp_path / "nothing"
    nothing.touch()
    told = {}
    for sent in (True, False):
        requests = in_file(tmp_path, text, sent=sent)
        arrow = tmp_path / "delta.arrow"
        found = reconcile(requests, 8, (nothing, nothing), "failed", arrow, batch_error, line_errors)
        told[sent] = [(error.code, error.message) for error in found.all_errors()]
    assert told[True] == [("invalid_json_line", "all"), ("invalid_url", "its own"), ("invalid_json_line", "told")]
    assert told[False] == [("invalid_json_line", "all")] * 3


@pytest.mark.parametrize("in_errors", [False, True])
def test_the_length_is_learned_where_nothing_tells_it(tmp_path: Path, in_errors: bool) -> None:
    """Neither the row nor the requests know it: what most vectors have counts, in whichever file they stand."""
    text = "".join(output_line(f"r{number}", vector(number)) for number in range(3)) + output_line("r3", [1.0])
    files = ("", text) if in_errors else (text, "")
    found, rows = run(tmp_path, asked(ASKED), *files, dimensions=None)
    assert (found.dimensions, found.written, sorted(rows)) == (8, 3, ["r0", "r1", "r2"])
    assert found.errors["r3"].code == "wrong_dimensions"


def test_what_the_row_says_counts_before_what_was_delivered(tmp_path: Path) -> None:
    """The row's dimensions, then the requests', then the usual ones."""
    text = output_line("r0", vector(0)) + output_line("r1", vector(1, 16))
    requests = Requests(asked(["r0", "r1"]).by_id, dimensions=16)
    assert run(tmp_path, requests, text, dimensions=8)[1].keys() == {"r0"}
    assert run(tmp_path, requests, text, dimensions=None)[1].keys() == {"r1"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("completed", "no_answer"),
        ("expired", "batch_expired"),
        ("cancelled", "batch_cancelled"),
        ("failed", "batch_failed"),
        ("not_found", "batch_not_found"),
    ],
)
def test_a_request_without_an_answer_is_unfinished(tmp_path: Path, status: str, code: str) -> None:
    """Its code tells why, by the status of its batch."""
    found, rows = run(tmp_path, asked(["r0", "r1"]), output_line("r0", vector(0)), status=status)
    assert rows.keys() == {"r0"}
    assert [(error.id, error.reason, error.code) for error in found.errors.values()] == [
        ("r1", "unfinished", code)
    ]


def test_a_good_answer_after_a_bad_one_counts(tmp_path: Path) -> None:
    """And further answers after the good one are left out and counted."""
    text = failed_line("r0") + output_line("r0", vector(1)) + output_line("r0", vector(2)) + failed_line("r0")
    found, rows = run(tmp_path, asked(["r0"]), text)
    assert rows == {"r0": reference_hash(record("r0", 1, "document of r0"))}
    assert (found.errors, found.repeated) == ({}, 2)


def test_many_rows_are_written_in_several_batches(tmp_path: Path) -> None:
    """More answers than one record batch, out of order: every row its own vector and document."""
    names = [f"r{number}" for number in range(2 * ROWS_AT_ONCE + 7)]
    order = np.random.default_rng(3).permutation(len(names))
    text = "".join(output_line(names[number], vector(int(number))) for number in order)
    found, rows = run(tmp_path, asked(names), text)
    assert found.written == len(names)
    assert rows == {
        name: reference_hash(record(name, number, f"document of {name}")) for number, name in enumerate(names)
    }


def test_nothing_at_all_balances(tmp_path: Path) -> None:
    """No requests, no answers."""
    found, rows = run(tmp_path, Requests({}), "", dimensions=None)
    assert (found.written, found.errors, found.unknown, rows) == (0, {}, 0, {})


def test_the_model_is_the_one_asked_for_or_told(tmp_path: Path) -> None:
    """The requests' own, else the first good answer's."""
    text = failed_line("r0") + output_line("r1", vector(1), model="told")
    assert run(tmp_path, asked(["r0", "r1"]), text)[0].model == "told"
    assert run(tmp_path, Requests(asked(["r1"]).by_id, model="asked"), text)[0].model == "asked"
    assert run(tmp_path, asked(["r0"]), text)[0].model is None
