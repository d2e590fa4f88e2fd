"""What Dagster's own code makes of our configuration for Kubernetes and ECS, against the published schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import botocore.session
import dagster as dg
import hcl2
import pytest
import yaml
from botocore.validate import ParamValidator
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster._serdes import ConfigurableClass
from dagster_aws.ecs import EcsRunLauncher
from dagster_aws.ecs.tasks import DagsterEcsTaskDefinitionConfig
from dagster_aws.s3 import S3ComputeLogManager
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from kubernetes.client import ApiClient

from embedding_assets import Settings, build_definitions
from embedding_assets.dagster_defs.runs.executor import executor_of
from embedding_assets.dagster_defs.runs.planning import CHUNK_STEP, run_config
from embedding_assets.settings import load_settings

Untyped: Any = UserDefinedDagsterK8sConfig
DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ENGINES = ["in_process", "multiprocess", "celery", "kubernetes", "ecs"]


def chosen(executor: str) -> Settings:
    """Settings with this executor."""
    broker = "rediss://:secret@broker/0"
    return Settings(table_name="t", bucket="b", executor=executor, celery_broker=broker)


@pytest.mark.parametrize("executor", ENGINES)
def test_the_executor_takes_the_run_configuration(executor: str) -> None:
    """The job of an execution validates what the sensors and `ingest` give it, without the secret."""
    settings = chosen(executor)
    job = build_definitions(settings).resolve_job_def("ingest_lines")
    assert job.executor_def.name == executor_of(settings).name
    given = run_config(settings)
    assert "secret" not in json.dumps(given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDDING_ASSETS_CELERY_BROKER", "rediss://broker/0")
        assert dg.validate_run_config(job, given)["execution"]
    steps = [node.name for node in job.nodes]
    assert any("intermediate_snapshots" in name for name in steps)


@pytest.mark.parametrize("executor", ["kubernetes", "ecs"])
def test_chunks_at_once_are_limited(executor: str) -> None:
    """By the tag of their steps, as with `multiprocess`."""
    config = run_config(chosen(executor))["execution"]["config"]
    assert {"key": "embedding_assets/step", "value": CHUNK_STEP, "limit": 10} in config["tag_concurrency_limits"]


@pytest.mark.parametrize("name", ["compose", "ecs"])
def test_each_dagster_yaml_is_valid(name: str) -> None:
    """Against the schema of Dagster itself; the run launcher and the log manager against their own."""
    config, _ = dagster_instance_config(str(DEPLOY / name))
    assert config["storage"]["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert config["telemetry"] == {"enabled": False}
    # Past one host the way to Postgres has TLS; compose has it in the network of its own containers.
    params = config["storage"]["postgres"]["postgres_db"].get("params", {})
    assert params == ({"sslmode": "require"} if name == "ecs" else {})
    parts: list[tuple[str, type[ConfigurableClass]]] = [("compute_logs", S3ComputeLogManager)]
    if name == "ecs":
        parts.append(("run_launcher", EcsRunLauncher))
    for part, kind in parts:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHROMADB_BUCKET", "bucket")
            checked = process_config(kind.config_type(), config[part]["config"])
        assert checked.success, checked.errors


@pytest.mark.skipif(
    int(version("kubernetes").split(".")[0]) >= 37,
    reason="dagster-k8s needs kubernetes<37, as constraints.txt has it",
)
def test_a_run_on_kubernetes() -> None:
    """The values of the chart give a job of a run that the models of the Kubernetes client take unchanged."""
    values = yaml.safe_load((DEPLOY / "kubernetes/values.yaml").read_text())
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(
            job_image="image:1",
            dagster_home="/opt/dagster/dagster_home",
            instance_config_map="dagster-instance",
            service_account_name=values["global"]["serviceAccountName"],
            env_secrets=[one["name"] for one in launcher["envSecrets"]],
        ),
        ["dagster", "api", "execute_run", "{}"],
        "dagster-run-1",
        Untyped.from_dict(_snakes(launcher["runK8sConfig"])),
        pod_name="dagster-run-1",
    )
    client: Any = ApiClient()
    manifest = client.sanitize_for_serialization(job)
    assert client.sanitize_for_serialization(_parsed(manifest)) == manifest
    pod = manifest["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"memory": "4Gi"}
    assert {"name": "embedding-assets"} in [one["secretRef"] for one in container["envFrom"] if "secretRef" in one]


def test_a_task_on_ecs() -> None:
    """The task definitions in `deploy/`, and the one that Dagster makes for a run, pass ECS's own model."""
    model = botocore.session.get_session().get_service_model("ecs")
    shape: Any = model.operation_model("RegisterTaskDefinition").input_shape
    files = sorted((DEPLOY / "ecs").glob("*-task.json"))
    assert [file.name for file in files] == ["code-task.json", "dagster-task.json"]
    for file in files:
        given = json.loads(file.read_text())
        report = ParamValidator().validate(given, shape)
        assert not report.has_errors(), report.generate_report()
        assert all(one["user"] not in ("root", "0") for one in given["containerDefinitions"])
        worker = given["containerDefinitions"][-1]
        own: Any = DagsterEcsTaskDefinitionConfig(
            family="run",
            image=worker["image"],
            container_name="run",
            command=None,
            log_configuration=worker["logConfiguration"],
            secrets=worker["secrets"],
            environment=worker["environment"],
            execution_role_arn=given["executionRoleArn"],
            task_role_arn=given["taskRoleArn"],
            sidecars=[],
            requires_compatibilities=given["requiresCompatibilities"],
            cpu=given["cpu"],
            memory=given["memory"],
        )
        report = ParamValidator().validate(own.task_definition_dict(), shape)
        assert not report.has_errors(), report.generate_report()


def _parsed(manifest: Mapping[str, Any]) -> Any:
    """The manifest through the client's own models: unknown fields and wrong types would be lost or refused."""

    class Response:
        data = json.dumps(manifest)

    client: Any = ApiClient()
    return client.deserialize(Response(), "V1Job")


def _snakes(value: Any) -> Any:
    if isinstance(value, dict):
        return {_snake(name): _snakes(one) for name, one in value.items()}
    return [_snakes(one) for one in value] if isinstance(value, list) else value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def test_the_example_of_compose_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Celery too, whose broker is another container: what is commented out is whole."""
    lines = (DEPLOY / "compose/env.example").read_text().splitlines()
    for line in lines:
        name, _, value = line.removeprefix("# ").partition("=")
        monkeypatch.setenv(name, value or "given")
    settings = load_settings()
    assert (settings.executor, settings.plaintext_hosts) == ("celery", "valkey")


def test_compose_and_terraform_are_whole() -> None:
    """No container is root or open to the world; the table is the one that the contract names."""
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    own = {name: one for name, one in compose["services"].items() if name not in ("postgres", "valkey")}
    assert set(own) == {"code", "daemon", "webserver", "worker"}
    assert all(one["read_only"] and one["cap_drop"] == ["ALL"] for one in own.values())
    ports = [port for one in compose["services"].values() for port in one.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    container_file = (DEPLOY / "Containerfile").read_text()
    for one in own.values():
        [mounted] = [volume.partition(":")[2] for volume in one["volumes"]]
        assert f"mkdir --parents {mounted}\n" in container_file, "a new volume would be root's"
        assert one["environment"]["EMBEDDING_ASSETS_CACHE_DIR"].startswith(mounted), "all else is read-only"
    assert "USER 10001:10001" in container_file
    with (DEPLOY / "terraform/main.tf").open() as file:
        resources = hcl2.load(file)["resource"]
    (table,) = [one for kind in resources for name, one in kind.items() if "aws_dynamodb_table" in name]
    keys = [value.strip('"') for value in (table_of(table)["hash_key"], table_of(table)["range_key"])]
    assert keys == ["PK", "SK"]


def table_of(resource: Mapping[str, Any]) -> Any:
    """The body of the only resource of a kind."""
    (body,) = [value for name, value in resource.items() if not name.startswith("__")]
    return body[0] if isinstance(body, list) else body
