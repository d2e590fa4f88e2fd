"""The key and the model at OpenAI; the key itself is never told."""

from __future__ import annotations

import openai as openai_sdk
import pytest

from embedding_assets.errors import TransientError
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.operations.doctor.check import Status
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.operations.doctor.conftest import Patient, named

SECRET = "sk-proj-very-secret-0123456789"


def test_a_model_is_known_or_not(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """404 is an answer; anything else is raised."""
    assert openai.knows_model("text-embedding-3-small")
    assert not openai.knows_model("text-embedding-9-huge")
    openai_server.fault("GET /v1/models/{id}", status=500)
    with pytest.raises(TransientError, match="text-embedding-3-small"):
        openai.knows_model("text-embedding-3-small")


def test_a_model_that_openai_does_not_know(patient: Patient) -> None:
    """The model and its variable are named."""
    results = patient.examine(model="text-embedding-9-huge", rounds=1)
    assert named(results, Status.FAILED) == {"OpenAI model"}
    assert "text-embedding-9-huge: set EMBEDDING_ASSETS_MODEL" in results["OpenAI model"].message


def test_a_wrong_key(patient: Patient, stack: EmbeddedStack, openai_server: OpenAIServer) -> None:
    """The variable is named, the key is not, also if OpenAI's answer repeats it; the model is not asked for."""
    openai_server.fault("*", times=None, status=401, message=f"Incorrect API key provided: {SECRET}")
    with openai_sdk.OpenAI(base_url=stack.environment["OPENAI_BASE_URL"], api_key=SECRET, max_retries=0) as sdk:
        results = patient.examine(openai=OpenAIBatches(sdk), rounds=1)
    assert named(results, Status.FAILED) == {"OpenAI key"}
    assert named(results, Status.SKIPPED) == {"OpenAI model"}
    assert "OPENAI_API_KEY" in results["OpenAI key"].message
    assert not any(SECRET in result.message for result in results.values())


def test_no_key(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is missing is a failed check like any other."""
    monkeypatch.delenv("OPENAI_API_KEY")
    results = patient.examine(openai=OpenAIBatches(), rounds=1)
    assert named(results, Status.FAILED) == {"OpenAI key"}
    assert "OPENAI_API_KEY is not set" in results["OpenAI key"].message


def test_a_key_that_may_not_read_models(patient: Patient, openai_server: OpenAIServer) -> None:
    """Nothing else asks for models: it may be restricted so."""
    openai_server.fault("GET /v1/models/{id}", times=None, status=403)
    results = patient.examine(rounds=1)
    assert named(results, Status.FAILED) == set()
    assert named(results, Status.WARNING) == {"OpenAI model"}
