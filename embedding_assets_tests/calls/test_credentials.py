"""Keys, tokens and endpoints are usable by the SDKs, or refused by the variable's name before those see them."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from embedding_assets.bucket.aws import s3_client
from embedding_assets.calls.credentials import check_credentials
from embedding_assets.errors import EmbeddingAssetsError, SettingsError
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.settings import load_settings
from embedding_assets.text.redaction import ENDPOINTS, IN_HEADERS

SECRET = "secret-that-nobody-may-see"


@pytest.mark.parametrize("name", [*IN_HEADERS, *ENDPOINTS])
@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\x0b{}\x85"], ids=ascii)
def test_white_space_around_it_is_taken_away(monkeypatch: pytest.MonkeyPatch, name: str, around: str) -> None:
    """As it comes from `$(cat file)` on Windows, from a Kubernetes secret, from an editor."""
    monkeypatch.setenv(name, around.format(SECRET))
    check_credentials()
    assert os.environ[name] == SECRET


@pytest.mark.parametrize("name", [*IN_HEADERS, *ENDPOINTS])
@pytest.mark.parametrize("inside", ["{}\n{}", "{}\x1b{}", "{}\x7f{}", "{}\udcff{}"], ids=ascii)
def test_what_is_inside_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, inside: str) -> None:
    """One line that names the variable; no part of the value, also not in a cause."""
    monkeypatch.setenv(name, inside.format(SECRET, SECRET))
    with pytest.raises(SettingsError, match=f"^{name} is not allowed") as raised:
        check_credentials()
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_key_that_is_no_ascii_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quotation mark of a word processor: no header can carry it."""
    monkeypatch.setenv("OPENAI_API_KEY", f"\u201c{SECRET}\u201d")
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        check_credentials()


@pytest.mark.parametrize(
    "use", [load_settings, s3_client, lambda: OpenAIBatches().sdk], ids=["start", "aws", "openai"]
)
def test_it_is_checked_before_anything_uses_it(monkeypatch: pytest.MonkeyPatch, use: object) -> None:
    """At the start, and again where an SDK's client is made, for programs that import this package."""
    assert callable(use)
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "table")
    monkeypatch.setenv("CHROMADB_BUCKET", "bucket")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}\n{SECRET}")
    with pytest.raises(SettingsError, match="AWS_SESSION_TOKEN"):
        use()


def test_an_env_file_is_checked_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in quotes over two lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / ".env").write_text(f'OPENAI_API_KEY="{SECRET}\n{SECRET}"\n')
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_BASE_URL", f"http://user:{SECRET}@127.0.0.1:port/v1"),
        ("HTTPS_PROXY", f"ftp://user:{SECRET}@127.0.0.1:1"),
        ("ALL_PROXY", f"socks5://user:{SECRET}@127.0.0.1:1"),
    ],
)
def test_openai_with_an_address_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """One line of ours, without the password and without the SDK's error as its cause."""
    monkeypatch.setenv(name, value)
    with pytest.raises(EmbeddingAssetsError) as raised:
        OpenAIBatches().retrieve("batch")
    text = "".join(traceback.format_exception(raised.value))
    assert SECRET not in text
    assert "OPENAI_BASE_URL or a proxy variable" in text


def test_aws_with_an_endpoint_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore raises a plain ValueError that quotes it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"not a url://user:{SECRET}@host")
    with pytest.raises(SettingsError, match="AWS_") as raised:
        s3_client()
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_credentials_of_a_file_are_filtered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are known as soon as a client is made of them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = AKIAOFTHEFILE00000\naws_secret_access_key = aws-secret-of-the-file-0000\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    s3_client()
    assert str(EmbeddingAssetsError("AKIAOFTHEFILE00000 aws-secret-of-the-file-0000")) == "*** ***"
