"""Races on servers that ignore conditions, that lose answers, and the verdict on every kind of round."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.bucket.store import Store
from embedding_assets.errors import ServiceError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.operations.doctor.bucket_races import Creation, Replacement
from embedding_assets.operations.doctor.check import Status
from embedding_assets.operations.doctor.race import Answer, Outcome, Tally, judge, race
from embedding_assets.operations.doctor.scratch import ScratchPrefix
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.operations.doctor.conftest import ROUNDS, WRITERS, Patient, named, refuse


@pytest.fixture(autouse=True)
def _environment(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients made here speak to the stack."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)


def without_conditions(*names: str) -> Any:
    """An S3 client whose puts lose these conditions on their way."""

    def strip(params: dict[str, Any], **event: Any) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name not in names}

    client: Any = s3_client(retries=False)
    client.meta.events.register("provide-client-params.s3.PutObject", strip)
    return client


@pytest.mark.parametrize(
    ("ignored", "race_name", "said"),
    [
        ("IfNoneMatch", "S3 creation race", "a second If-None-Match creation"),
        ("IfMatch", "S3 replacement race", "an If-Match replacement with a stale ETag"),
    ],
)
def test_a_bucket_that_ignores_a_condition(
    patient: Patient, store: Store, aws: AwsClients, ignored: str, race_name: str, said: str
) -> None:
    """Its race is lost in every round, already one write after the other is let through, nothing else fails."""
    results = patient.examine(store=Store(store.bucket, aws.s3, without_conditions(ignored)))
    assert named(results, Status.FAILED) == {"S3 conditions", race_name}
    assert f"let through {said}" in results["S3 conditions"].message
    assert (
        f"of {ROUNDS} rounds of {WRITERS} writers at once, several won in {ROUNDS}: " in results[race_name].message
    )


def test_a_table_that_ignores_conditions(patient: Patient, ledger: Ledger) -> None:
    """Both races are lost in every round, and nothing else fails."""

    def always(params: dict[str, Any], **event: Any) -> dict[str, Any]:
        condition = params.get("ConditionExpression")
        wider = {"ConditionExpression": f"attribute_not_exists(nothing) OR {condition}"} if condition else {}
        return {**params, **wider}

    client: Any = dynamodb_client()
    client.meta.events.register("provide-client-params.dynamodb", always)
    results = patient.examine(ledger=Ledger(ledger.table, client))
    races = {"DynamoDB creation race", "DynamoDB update race"}
    assert named(results, Status.FAILED) == races
    assert all(f"several won in {ROUNDS}" in results[name].message for name in races)


@pytest.mark.parametrize("contest", [Creation, Replacement])
def test_a_lost_answer_is_looked_up(
    store: Store, aws: AwsClients, contest: type[Creation] | type[Replacement]
) -> None:
    """The winner's answer gets lost in every round: what is stored tells that it won, and nobody else did."""
    client = s3_client(retries=False)
    lost: list[int] = []

    def lose(http_response: Any, **event: Any) -> None:
        if http_response.status_code == 200:
            lost.append(1)
            raise ReadTimeoutError(endpoint_url="http://s3")

    client.meta.events.register("after-call.s3.PutObject", lose)
    deaf = Store(store.bucket, aws.s3, client)
    assert race(contest(deaf, ScratchPrefix(deaf)), ROUNDS, WRITERS).outcomes == (Outcome.ONE,) * ROUNDS
    assert len(lost) == ROUNDS


def test_a_server_that_answers_nobody(store: Store, aws: AwsClients) -> None:
    """Every answer is lost and nothing is stored: no verdict, and the finding says so."""
    client = s3_client(retries=False)

    def lose(**event: Any) -> None:
        raise ReadTimeoutError(endpoint_url="http://s3")

    client.meta.events.register("before-send.s3.PutObject", lose)
    deaf = Store(store.bucket, aws.s3, client)
    tally = race(Creation(deaf, ScratchPrefix(deaf)), ROUNDS, WRITERS)
    finding = tally.finding("no")
    assert finding.status is Status.WARNING
    assert f"lost or throttled in {ROUNDS}" in finding.message


def test_another_error_ends_the_race(store: Store, aws: AwsClients) -> None:
    """A refusal that has nothing to do with conditions is raised, and no thread is left waiting."""
    client = s3_client(retries=False)
    refuse(client, "s3.PutObject")
    denied = Store(store.bucket, aws.s3, client)
    before = threading.active_count()
    with pytest.raises(ServiceError, match="AccessDenied"):
        race(Creation(denied, ScratchPrefix(denied)), ROUNDS, WRITERS)
    assert threading.active_count() == before


WON, REFUSED, LOST = Answer.WON, Answer.REFUSED, Answer.LOST


@pytest.mark.parametrize(
    ("told", "stored", "resent", "outcome"),
    [
        ({"a": WON, "b": REFUSED}, "a", False, Outcome.ONE),
        ({"a": LOST, "b": REFUSED}, "a", False, Outcome.ONE),
        ({"a": WON, "b": LOST}, "a", False, Outcome.ONE),
        ({"a": WON, "b": LOST}, "b", False, Outcome.SEVERAL),
        ({"a": WON, "b": WON}, "a", False, Outcome.SEVERAL),
        ({"a": WON, "b": REFUSED}, "b", True, Outcome.SEVERAL),
        ({"a": REFUSED, "b": REFUSED}, None, False, Outcome.NONE),
        ({"a": REFUSED, "b": LOST}, "what was there", False, Outcome.NONE),
        ({"a": LOST, "b": LOST}, None, False, Outcome.UNANSWERED),
        ({"a": WON, "b": REFUSED}, None, False, Outcome.OTHER),
        ({"a": WON, "b": REFUSED}, "what was there", False, Outcome.OTHER),
        ({"a": REFUSED, "b": REFUSED}, "a", False, Outcome.OTHER),
        ({"a": REFUSED, "b": REFUSED}, "a", True, Outcome.ONE),
    ],
)
def test_the_verdict_on_a_round(
    told: dict[str, Answer], stored: str | None, resent: bool, outcome: Outcome
) -> None:
    """Who was told so, or is stored, has won; a refused write is stored only if the SDK sent it twice."""
    assert judge(told, stored, resent=resent) is outcome


@given(
    st.dictionaries(st.integers(0, 7).map(str), st.sampled_from(Answer), min_size=1),
    st.one_of(st.none(), st.integers(0, 8).map(str)),
    st.booleans(),
)
def test_one_winner_means_that_its_content_is_there(
    told: dict[str, Answer], stored: str | None, resent: bool
) -> None:
    """Whatever happened: a round counts as good only where at most one was told so and that one is stored."""
    acknowledged = {content for content, answer in told.items() if answer is WON}
    if judge(told, stored, resent=resent) is Outcome.ONE:
        assert stored in told
        assert acknowledged <= {stored}


def test_the_finding_counts_each_kind_of_round() -> None:
    """Only kinds that occurred are told; the remedy stands at the end."""
    outcomes = (Outcome.ONE, Outcome.SEVERAL, Outcome.NONE, Outcome.SEVERAL, Outcome.OTHER, Outcome.UNANSWERED)
    finding = Tally(8, outcomes).finding("go elsewhere")
    assert finding.status is Status.FAILED
    assert finding.message == (
        "of 6 rounds of 8 writers at once, several won in 2, none won in 1, "
        "what is stored is not the winner's in 1: go elsewhere"
    )
    assert (
        Tally(8, (Outcome.ONE,) * 3).finding("").message == "3 rounds of 8 writers at once, exactly one won each"
    )
