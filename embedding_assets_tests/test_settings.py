"""Settings: a bad value stops the program with one line, and a secret stands in none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embedding_assets.errors import InputError, SettingsError
from embedding_assets.settings import Settings, load_settings

SECRETS = {"OPENAI_API_KEY": "sk-very-secret", "AWS_SECRET_ACCESS_KEY": "aws-very-secret"}


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "table")
    monkeypatch.setenv("CHROMADB_BUCKET", "bucket")
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_contracts() -> None:
    """Each default that the contract's table names."""
    settings = load_settings()
    assert (settings.table_name, settings.bucket) == ("table", "bucket")
    assert (settings.storage_mode, settings.chroma_root) == ("auto", None)
    assert settings.poll_concurrency == 50
    assert (settings.chunk_size, settings.group_size, settings.group_threshold) == (10, 10, 4)
    assert (settings.chunk_concurrency, settings.group_concurrency) == (10, 6)
    assert (settings.intermediate_format, settings.index_writer) == ("arrow", "auto")
    assert (settings.model, settings.dimensions) == ("text-embedding-3-small", None)
    assert (settings.completion_window, settings.send_dimensions) == ("24h", True)
    assert (settings.max_text_tokens, settings.price_per_million) == (8192, None)
    assert (settings.input_file_seconds, settings.output_file_seconds) == (2592000, 0)
    assert settings.lock_lease_seconds == 60
    assert (settings.min_ready, settings.max_wait_seconds) == (1, 300)
    assert settings.stall_seconds == 600
    assert (settings.gc_min_age_seconds, settings.snapshot_retention) == (86400, 4)
    assert settings.partition_retention_days == 30
    assert settings.databases_file is None
    assert [database.name for database in settings.databases] == ["lines", "words"]


@pytest.mark.parametrize("name", ["DYNAMODB_TABLE_NAME", "CHROMADB_BUCKET"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_has_no_default_is_asked_for(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    """Missing, or set to nothing: one line with the variable and its meaning."""
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name} is not set \(the") as raised:
        load_settings()
    assert len(str(raised.value).splitlines()) == 1


COUNTS = [
    "POLL_CONCURRENCY",
    "POLL_DISK_MIB",
    "GROUP_THRESHOLD",
    "CHUNK_CONCURRENCY",
    "GROUP_CONCURRENCY",
    "DIMENSIONS",
    "MAX_TEXT_TOKENS",
]
COUNTS += ["MIN_READY", "SNAPSHOT_RETENTION", "CELERY_VISIBILITY_SECONDS"]
SIZES = ["CHUNK_SIZE", "GROUP_SIZE"]
SECONDS = ["LOCK_LEASE_SECONDS", "STALL_SECONDS"]
WAITS = ["MAX_WAIT_SECONDS", "GC_MIN_AGE_SECONDS", "PRICE_PER_MILLION", "PARTITION_RETENTION_DAYS"]
FILES = ["INPUT_FILE_SECONDS", "OUTPUT_FILE_SECONDS"]

BAD = [
    *(
        (f"EMBEDDING_ASSETS_{name}", value, "integer")
        for name in [*COUNTS, *SIZES]
        for value in ("x", "1.5", "1 0")
    ),
    *((f"EMBEDDING_ASSETS_{name}", value, "1") for name in COUNTS for value in ("0", "-1")),
    *((f"EMBEDDING_ASSETS_{name}", value, "2") for name in SIZES for value in ("0", "1")),
    *((f"EMBEDDING_ASSETS_{name}", value, "0") for name in SECONDS for value in ("0", "-1")),
    *((f"EMBEDDING_ASSETS_{name}", "-0.5", "0") for name in WAITS),
    *((f"EMBEDDING_ASSETS_{name}", "x", "number") for name in [*SECONDS, *WAITS]),
    *((f"EMBEDDING_ASSETS_{name}", value, "") for name in [*SECONDS, *WAITS] for value in ("nan", "inf")),
    *((f"EMBEDDING_ASSETS_{name}", value, "172800") for name in FILES for value in ("-1", "86400", "2592001")),
    *(("EMBEDDING_ASSETS_COMPLETION_WINDOW", value, "[mhd]") for value in ("24", "0h", "24 h")),
    ("EMBEDDING_ASSETS_INTERMEDIATE_FORMAT", "parquet", "'arrow' or 'chroma'"),
    ("EMBEDDING_ASSETS_INDEX_WRITER", "hnsw", "'chroma', 'direct' or 'auto'"),
    ("EMBEDDING_ASSETS_VERSION_LAYOUT", "halved", "'whole' or 'split'"),
    ("CHROMADB_STORAGE_MODE", "nfs", "'s3', 'efs' or 'auto'"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_a_bad_value_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    """The variable as it is set, the value as it was given, and what is allowed."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    message = str(raised.value)
    assert message.startswith(f"{name}={value!r} is not allowed: it must be ")
    assert allowed in message
    assert len(message.splitlines()) == 1


def test_efs_needs_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode efs without CHROMA_ROOT cannot work: told at start, naming what is missing."""
    monkeypatch.setenv("CHROMADB_STORAGE_MODE", "efs")
    with pytest.raises(SettingsError, match="CHROMA_ROOT"):
        load_settings()


def test_values_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed; a variable that is set to nothing counts as unset; unknown ones are no error."""
    for name, value in {
        "EMBEDDING_ASSETS_CHUNK_SIZE": "7",
        "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "0.5",
        "EMBEDDING_ASSETS_DIMENSIONS": "512",
        "EMBEDDING_ASSETS_GROUP_SIZE": "",
        "EMBEDDING_ASSETS_NO_SUCH_SETTING": "x",
        "CHROMADB_STORAGE_MODE": "s3",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.chunk_size, settings.lock_lease_seconds, settings.dimensions) == (7, 0.5, 512)
    assert (settings.group_size, settings.storage_mode) == (10, "s3")


def test_the_env_file_is_read_and_never_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.env` of the working directory; a set variable is stronger; what the SDKs read is there for them."""
    monkeypatch.delenv("CHROMADB_BUCKET")
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / ".env").write_text(
        "CHROMADB_BUCKET=from-file\nDYNAMODB_TABLE_NAME=from-file\n# a comment\n"
        'EMBEDDING_ASSETS_CHUNK_SIZE="3"\nOPENAI_API_KEY=sk-from-file\n'
    )
    settings = load_settings()
    assert (settings.bucket, settings.table_name, settings.chunk_size) == ("from-file", "table", 3)
    assert os.environ["OPENAI_API_KEY"] == "sk-from-file"


def test_a_bad_value_in_the_env_file_is_told_alike(tmp_path: Path) -> None:
    """Wherever it came from."""
    (tmp_path / ".env").write_text("EMBEDDING_ASSETS_CHUNK_SIZE=many\n")
    with pytest.raises(SettingsError, match="EMBEDDING_ASSETS_CHUNK_SIZE='many'"):
        load_settings()


def test_an_env_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Bytes that are no UTF-8: one line that names the file, not a traceback."""
    (tmp_path / ".env").write_bytes(b"CHROMADB_BUCKET=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings()


def test_no_secret_stands_in_the_settings_or_their_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read by the SDKs alone: nothing here could print them."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    monkeypatch.setenv("EMBEDDING_ASSETS_CHUNK_SIZE", "0")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    shown = [repr(settings), str(settings), settings.model_dump_json(), str(raised.value), repr(raised.value)]
    shown.append(str(raised.value.__cause__))
    for value in SECRETS.values():
        assert not any(value in text for text in shown)


def test_a_database_is_found_by_name() -> None:
    """Or those that exist are named."""
    settings = Settings()
    assert settings.database("words").batch_type == "WORD_EMBEDDING"
    with pytest.raises(InputError, match=r"'letters'.*lines, words"):
        settings.database("letters")


def test_a_wrong_databases_file_stops_at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not at the first use."""
    monkeypatch.setenv("EMBEDDING_ASSETS_DATABASES_FILE", str(tmp_path / "missing.yaml"))
    with pytest.raises(SettingsError, match=r"EMBEDDING_ASSETS_DATABASES_FILE=.*missing\.yaml cannot be read"):
        load_settings()


@pytest.mark.parametrize(
    "address", ["hooks.example.com/T0/secret", "ftp://host/secret", "https://", "https:///secret"]
)
def test_a_webhook_that_cannot_be_posted_to_stops_at_start(address: str) -> None:
    """Not at the first alert, when nobody looks; the line does not show the address, which is secret."""
    with pytest.raises(SettingsError, match=r"^EMBEDDING_ASSETS_WEBHOOK_URL is not allowed") as raised:
        Settings(webhook_url=address)
    assert "secret" not in str(raised.value)
    assert Settings(webhook_url="https://hooks.example.com/T0/secret?x=1").webhook_url is not None


def test_celery_needs_a_broker() -> None:
    """One line that names the variable; the broker's password is in no text of the settings."""
    with pytest.raises(
        SettingsError, match=r"^EMBEDDING_ASSETS_EXECUTOR=celery needs EMBEDDING_ASSETS_CELERY_B.*"
    ):
        Settings(executor="celery")
    assert "secret" not in repr(Settings(executor="celery", celery_broker="rediss://user:secret@broker/0"))
