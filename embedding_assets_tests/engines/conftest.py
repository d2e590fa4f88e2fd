"""The servers of these tests, once a session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import openai
import psycopg2
import pytest
import yaml

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world
from embedding_assets_tests.engines.servers import SCHEME, USER, Postgres, postgres_server, valkey_server
from embedding_assets_tests.seaweed import HOST


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The URL of a broker."""
    with valkey_server() as url:
        yield url


@pytest.fixture
def storage(postgres: Postgres) -> dict[str, Any]:
    """Dagster's storage in a database of this test's own."""
    name = f"d{uuid.uuid4().hex}"
    connection = psycopg2.connect(host=HOST, port=postgres.port, user=USER, dbname="postgres")
    try:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    finally:
        connection.close()
    address = {
        "hostname": HOST,
        "port": postgres.port,
        "username": USER,
        "password": "",
        "db_name": name,
        "scheme": SCHEME,
    }
    return {"postgres": {"postgres_db": address}}


@pytest.fixture
def instance(storage: dict[str, Any], tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on Postgres."""
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


@contextmanager
def world_on_postgres(
    stack: EmbeddedStack,
    aws: AwsClients,
    sdk: tuple[openai.OpenAI, httpx.Client],
    storage: dict[str, Any],
    home: Path,
    more: dict[str, Any],
    **environment: str,
) -> Iterator[World]:
    """A world whose Dagster instance is on Postgres."""
    home.mkdir(exist_ok=True)
    config = yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}, **more})
    with open_world(stack, aws, sdk[1], home, dagster_yaml=config, **environment) as opened:
        yield opened


@pytest.fixture
def plain_world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A world whose Dagster is in files."""
    home = tmp_path / "home"
    home.mkdir()
    with open_world(stack, aws, openai_clients[1], home) as opened:
        yield opened
