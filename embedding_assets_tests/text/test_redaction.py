"""No secret of the environment survives the filter, in whatever form a library writes it."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from embedding_assets.errors import ServiceError
from embedding_assets.text.redaction import REPLACEMENT, redacted, remember_secret, without_secrets

KEY = 'sk-proj-"quoted"/slash+plus='
PASSWORD = "pass/wörd%20@"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", f"http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:3128")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://reader:letmein-please@storage.internal:9000/base")
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS", "x-gateway-token: token-of-the-gateway\nx-other: other-token-value"
    )
    monkeypatch.setenv("EMBEDDING_ASSETS_WEBHOOK_URL", "https://hooks.internal/services/T0/B0/x")


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (KEY, f"Illegal header value {f'Bearer {KEY}'.encode()!r}"),
        (KEY, json.dumps({"message": f"Bearer {KEY}"})),
        (KEY, f"https://gateway/?key={quote(KEY, safe='')}"),
        (quote(KEY, safe=""), f"https://gateway/?key={quote(KEY, safe='')}"),
        (PASSWORD, f"proxy authentication of somebody with {PASSWORD} failed"),
        (quote(PASSWORD, safe=""), f"Invalid URL 'http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:3128'"),
        (
            "c29tZWJvZHk6",
            f"Proxy-Authorization: Basic {base64.b64encode(f'somebody:{PASSWORD}'.encode()).decode()}",
        ),
        (
            "letmein",
            'Could not connect to the endpoint URL: "https://reader:letmein-please@storage.internal:9000/"',
        ),
        ("letmein", "the password letmein-please, in a sentence"),
        ("token-of-the-gateway", "x-gateway-token=token-of-the-gateway"),
        ("other-token-value", "x-other: other-token-value"),
        ("T0/B0", "posting to https://hooks.internal/services/T0/B0/x: 500"),
        ("hunter2", "no variable has it: redirected to https://anybody:hunter2@elsewhere/path"),
        ("a-token", "a user alone is a token: https://a-token@elsewhere"),
    ],
)
def test_a_secret_is_replaced(secret: str, text: str) -> None:
    """As it is, and as URLs, JSON, `repr` and HTTP's basic authentication write it."""
    found = redacted(text)
    assert secret not in found
    assert REPLACEMENT in found


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/key@1 and s3://bucket/other",
        "https://storage.internal:9000/base?at=me@home",
        "mail me@home, see //comment",
        "reader somebody",
    ],
)
def test_everything_else_stays(text: str) -> None:
    """A host, a user's name, an `@` elsewhere."""
    assert redacted(text) == text


def test_words_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dummy values of local servers: short ones are left, longer ones are replaced only as whole words."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "minioadmin")
    assert redacted("testing bucket test, minioadmins, minioadmin.") == "testing bucket test, minioadmins, ***."


def test_a_users_data_keeps_its_urls() -> None:
    """What a document says is printed as it is, but for our own secrets."""
    text = f"ftp://anonymous:guest@mirror and {KEY}"
    assert without_secrets(text) == f"ftp://anonymous:guest@mirror and {REPLACEMENT}"


def test_credentials_of_a_file_are_remembered() -> None:
    """They are in no variable."""
    assert "from-a-credentials-file" in redacted("from-a-credentials-file")
    remember_secret("from-a-credentials-file")
    assert redacted("key from-a-credentials-file") == f"key {REPLACEMENT}"


def test_every_error_of_ours_is_filtered_when_it_is_made() -> None:
    """Secrets and control characters: wherever the error goes, it says neither."""
    error = ServiceError(f"answered 400: Bearer {KEY}\x1b]52;c;ZXZpbA==\x07 two\nlines")
    assert str(error) == f"answered 400: Bearer {REPLACEMENT}\\x1b]52;c;ZXZpbA==\\x07 two\nlines"
    assert KEY not in repr(error)
