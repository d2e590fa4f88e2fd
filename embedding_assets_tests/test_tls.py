"""No address leads to another machine without TLS, whatever names it, unless its host is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedding_assets import open_snapshot, tls
from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.calls.credentials import check_credentials
from embedding_assets.errors import SettingsError
from embedding_assets.factory import build_definitions
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.settings import ReaderSettings, Settings, load_settings
from embedding_assets.telemetry import telemetry
from embedding_assets.tls import HOSTS, check_addresses
from embedding_assets_tests.cli.commands import failed

ADDRESSES = [
    ("AWS_ENDPOINT_URL", "http://{}:9000", "https"),
    ("AWS_ENDPOINT_URL_S3", "http://user:password-of-it@{}:9000", "https"),
    ("AWS_ENDPOINT_URL_DYNAMODB", "HTTP://{}:8000", "https"),
    ("OPENAI_BASE_URL", "http://{}/v1", "https"),
    ("EMBEDDING_ASSETS_TARGETS", "far=chroma+http://:password-of-it@{}:8000/t/d", "chroma+https"),
    ("EMBEDDING_ASSETS_TARGETS", "a=chroma+https://h/t/d, far=chroma+http://{}/t/d", "chroma+https"),
    ("EMBEDDING_ASSETS_WEBHOOK_URL", "http://{}/hook", "https"),
    ("EMBEDDING_ASSETS_CELERY_BROKER", "redis://:password-of-it@{}:6379/0", "rediss"),
    ("EMBEDDING_ASSETS_CELERY_BROKER", "amqps://h:5671//;amqp://{}:5672//", "amqps"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://{}:4317", "https"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://{}:4317", "https"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://{}:4317", "https"),
]
"""Every kind of address that this package sends something to."""
OTHERS = ["service.internal", "10.1.2.3", "[fd00::1]", "127.0.0.1.example.com", "localhost.example.com", "0.0.0.0"]
OWN = ["localhost", "LOCALHOST", "api.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings that are whole, and a process that has allowed nothing."""
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "table")
    monkeypatch.setenv("CHROMADB_BUCKET", "bucket")
    monkeypatch.chdir(tmp_path)
    before = set(tls._remembered)
    tls._remembered.clear()
    yield
    tls._remembered.clear()
    tls._remembered.update(before)


@pytest.mark.parametrize(("variable", "address", "with_tls"), ADDRESSES)
@pytest.mark.parametrize("host", OTHERS)
def test_another_machine_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, address: str, with_tls: str, host: str
) -> None:
    """One line with the variable, the host, what to use and what allows it; no password, no secret address."""
    monkeypatch.setenv(variable, address.format(host))
    with pytest.raises(SettingsError) as raised:
        load_settings()
    line = str(raised.value)
    shown = "a host" if variable == "EMBEDDING_ASSETS_WEBHOOK_URL" else host.strip("[]")
    assert line.startswith(f"{variable} leads to {shown} without TLS: use {with_tls}, or name the host in {HOSTS}")
    assert len(line.splitlines()) == 1
    assert "password-of-it" not in line


@pytest.mark.parametrize(("variable", "address", "with_tls"), ADDRESSES)
@pytest.mark.parametrize("host", OWN)
def test_this_machine_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, address: str, with_tls: str, host: str
) -> None:
    """Its own addresses, as the embedded servers have them, also with TLS anywhere."""
    monkeypatch.setenv(variable, address.format(host))
    load_settings()
    for plain, secure in tls.WITH_TLS.items():
        address = re.sub(rf"(?<![\w+]){re.escape(plain)}://", f"{secure}://", address, flags=re.IGNORECASE)
    monkeypatch.setenv(variable, address.format("service.internal"))
    load_settings()


@pytest.mark.parametrize(("variable", "address", "with_tls"), ADDRESSES)
@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("service.internal", "service.internal"),
        ("other, Service.INTERNAL", "service.Internal"),
        ("*.svc.cluster.local", "chroma.data.svc.cluster.local"),
        ("10.*", "10.1.2.3"),
        ("fd00::1", "[fd00::1]"),
        ("*", "anything.example"),
    ],
)
def test_a_host_that_is_named_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, address: str, with_tls: str, allowed: str, host: str
) -> None:
    """A name, a pattern, several; by variable, in `.env` too. Another host stays refused."""
    monkeypatch.setenv(variable, address.format(host))
    Path(".env").write_text(f"{HOSTS}={allowed}\n")
    assert load_settings().plaintext_hosts == allowed
    if allowed != "*":
        monkeypatch.setenv(variable, address.format("service.internal.example"))
        with pytest.raises(SettingsError, match=variable):
            load_settings()


@pytest.mark.parametrize("text", ["redis://:pass,word@service.internal/0", "http://[fd00::1/", "http:///path"])
def test_a_host_that_cannot_be_read_is_refused(text: str) -> None:
    """It could be any."""
    with pytest.raises(SettingsError, match="leads to a host without TLS"):
        check_addresses("SOME_VARIABLE", text)


def test_other_texts_are_not_addresses() -> None:
    """A URL within a URL, a queue of AWS, a host without a scheme."""
    for text in (
        "https://relay.example/?to=http://service.internal",
        "sqs://",
        "memory://",
        "service.internal:80",
    ):
        check_addresses("SOME_VARIABLE", text)


@pytest.mark.parametrize("kind", ["s3", "dynamodb", "openai", "application"])
def test_it_is_checked_where_a_client_is_made(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """For programs that read a version and have no settings."""
    monkeypatch.setenv("OPENAI_BASE_URL" if kind == "openai" else "AWS_ENDPOINT_URL", "http://service.internal")
    use: dict[str, Callable[[], object]] = {
        "s3": s3_client,
        "dynamodb": dynamodb_client,
        "openai": lambda: OpenAIBatches().sdk,
        "application": lambda: open_snapshot("lines", bucket="bucket"),
    }
    with pytest.raises(SettingsError, match=r"leads to service\.internal without TLS"):
        use[kind]()


@pytest.mark.parametrize("make", [s3_client, dynamodb_client])
def test_an_endpoint_of_a_profile_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[[], Any]
) -> None:
    """AWS's configuration file: no variable has it."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    file = tmp_path / "config"
    file.write_text("[default]\nregion = us-east-1\nendpoint_url = http://service.internal:9000\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    with pytest.raises(SettingsError, match=r"boto3's configuration leads to service\.internal without TLS"):
        make()
    monkeypatch.setenv(HOSTS, "service.internal")
    assert make().meta.endpoint_url == "http://service.internal:9000"


def test_settings_that_are_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused and allowed alike, and what they allow counts for the SDKs' variables too."""
    far = "far=chroma+http://service.internal/t/d"
    with pytest.raises(SettingsError, match="EMBEDDING_ASSETS_TARGETS leads to"):
        Settings(targets=far)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://service.internal")
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL leads to"):
        check_credentials()
    build_definitions(Settings(targets=far, plaintext_hosts="service.internal"))
    check_credentials()


def test_telemetry_of_others_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only reads versions sends none; telemetry that is off goes nowhere; without a scheme a flag decides."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
    load_settings(ReaderSettings)
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_ENDPOINT leads to collector"):
        telemetry()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    load_settings()
    telemetry()
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
    load_settings()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_ENDPOINT leads to collector"):
        load_settings()


def test_a_command_says_it_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends with 1 before it calls anybody."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://service.internal/v1")
    said = failed("status")
    assert "OPENAI_BASE_URL leads to service.internal without TLS" in said
