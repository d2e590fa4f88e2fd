"""What other programs import: the exported names, reading without Dagster, and definitions beside a host's own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

import embedding_assets
from embedding_assets import Database, EmbeddingAssetsError, Settings, build_definitions
from embedding_assets.dagster_defs.resources import ARTEFACT_IO, OP_OUTPUT_IO, SERVICES
from embedding_assets.errors import SettingsError
from embedding_assets.extras import MODULES, Extra
from embedding_assets_tests.fresh_python import BEYOND_THE_BASE, ROOT, VARIABLES, run_python

REVIEWS = Database(name="reviews", batch_type="REVIEW", delta_folder="reviews")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings() -> Settings:
    """Settings by arguments alone."""
    return Settings(table_name="their-table", bucket="their-bucket")


def test_the_names_are_there() -> None:
    """Each exported name can be had, and no other."""
    for name in embedding_assets.__all__:
        assert getattr(embedding_assets, name) is not None
    assert set(embedding_assets.__all__) <= set(dir(embedding_assets))
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = embedding_assets.nothing_of_ours


def test_importing_reads_neither_environment_nor_file(tmp_path: Path) -> None:
    """Without any variable, beside a `.env` that is wrong; nothing heavy is loaded."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    code = (
        "import sys, embedding_assets\n"
        "from embedding_assets import Settings, Database, EmbeddingAssetsError, open_snapshot, __version__\n"
        "print(sorted({'dagster', 'chromadb', 'openai'} & sys.modules.keys()), __version__)"
    )
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, f"[] {embedding_assets.__version__}\n"), done.stderr


def test_without_the_pipeline_one_line_names_it(tmp_path: Path) -> None:
    """What needs Dagster is refused with an ImportError that is one of ours; the rest is there."""
    code = (
        "import sys\n"
        f"for name in {BEYOND_THE_BASE}:\n    sys.modules[name] = None\n"
        "import embedding_assets\n"
        "for name in embedding_assets.__all__:\n"
        "    try:\n        getattr(embedding_assets, name)\n"
        "    except ImportError as error:\n"
        "        assert isinstance(error, embedding_assets.EmbeddingAssetsError)\n"
        "        print(error)\n"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    missing = "pip install 'embedding-assets[pipeline]' (not installed: openai, dagster, dagster_aws, bpe_openai)"
    assert done.stdout.splitlines() == [
        f"embedding_assets.{name} needs the extra `pipeline`: {missing}"
        for name in ("EmbeddingDatabase", "build_definitions")
    ]


@cache
def installed_modules() -> Mapping[str, list[str]]:
    """The distributions of each installed module; looking takes a second."""
    return packages_distributions()


def modules_of(requirement: str) -> set[str]:
    """The modules of the distribution that is required."""
    name = re.split(r"[\[<>=! ]", requirement)[0].lower()
    return {
        module
        for module, distributions in installed_modules().items()
        if name in {distribution.lower().replace("_", "-") for distribution in distributions}
    }


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_installs_what_it_is_asked_for(extra: Extra) -> None:
    """A module of each own requirement is in the table, and each module is of one, or of an extra below."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required: list[str] = project["optional-dependencies"][extra]
    named = re.findall(r"embedding-assets\[([\w,]+)\]", " ".join(required))
    below = ",".join(named).split(",") if named else []
    own = set(MODULES[extra]) - {module for name in below for module in MODULES[cast(Extra, name)]}
    installed = [modules_of(one) for one in required if not one.startswith(f"{project['name']}[")]
    assert all(modules & own for modules in installed)
    # moto installs flask with its own extra `server`.
    assert own - {"flask"} <= set().union(*installed)
    assert not any(modules_of(one) & own for one in project["dependencies"])


def test_arguments_win_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable fills what no argument names."""
    monkeypatch.setenv("CHROMADB_BUCKET", "of-the-variable")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "of-the-variable")
    monkeypatch.setenv("EMBEDDING_ASSETS_CHUNK_SIZE", "7")
    settings = Settings(bucket="given")
    assert (settings.bucket, settings.table_name, settings.chunk_size) == ("given", "of-the-variable", 7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"buckets": "b"}, "buckets is no setting"),
        ({"bucket": "b"}, "DYNAMODB_TABLE_NAME is not set"),
        ({"bucket": "b", "table_name": "t", "chunk_size": 1}, "EMBEDDING_ASSETS_CHUNK_SIZE=1 is not allowed"),
    ],
)
def test_what_is_wrong_is_one_line(values: dict[str, Any], message: str) -> None:
    """An unknown argument, a missing one, a bad value."""
    with pytest.raises(SettingsError, match=f"^{message}") as raised:
        Settings(**values)
    assert len(str(raised.value).splitlines()) == 1
    assert isinstance(raised.value, EmbeddingAssetsError)


def test_resource_keys_are_our_own(settings: Settings) -> None:
    """No key that a host project may have, and every one that our assets ask for."""
    defs = build_definitions(settings)
    assert set(defs.resources or {}) == {SERVICES, ARTEFACT_IO, OP_OUTPUT_IO}
    assert not {"io_manager", "s3", "services"} & set(defs.resources or {})
    dg.Definitions.validate_loadable(defs)


def test_exactly_these_settings_reach_everything(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Services and IO managers alike, whatever the environment says meanwhile."""
    monkeypatch.setenv("CHROMADB_BUCKET", "another")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "another")
    resources: Any = build_definitions(settings).resources
    with dg.build_resources(resources) as built:
        services = getattr(built, SERVICES).services
        buckets = {getattr(built, key).bucket for key in (ARTEFACT_IO, OP_OUTPUT_IO)}
    assert (services.settings.bucket, services.settings.table_name) == ("their-bucket", "their-table")
    assert buckets == {"their-bucket"}


@pytest.mark.parametrize("with_own", [True, False])
def test_a_host_project_runs_its_own_beside_ours(settings: Settings, tmp_path: Path, with_own: bool) -> None:
    """A host with an `io_manager` and an `s3` of its own, and one with neither."""
    seen: list[str] = []

    class Own(dg.ConfigurableIOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            seen.append(str(obj))

        def load_input(self, context: dg.InputContext) -> object:
            return seen[-1]

    @dg.asset
    def theirs() -> str:
        return "theirs"

    @dg.asset
    def next_of_theirs(theirs: str) -> str:
        return theirs + " again"

    own: dict[str, Any] = {"io_manager": Own(), "s3": dg.ResourceDefinition.hardcoded_resource("theirs")}
    host = dg.Definitions(assets=[theirs, next_of_theirs], resources=own if with_own else {})
    merged = dg.Definitions.merge(host, build_definitions(settings))
    dg.Definitions.validate_loadable(merged)
    keys = {"/".join(key.path) for key in merged.resolve_asset_graph().get_all_asset_keys()}
    assert {"theirs", "lines/final_snapshot", "words/batches"} <= keys
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = merged.resolve_implicit_global_asset_job_def()
        done = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("theirs"), dg.AssetKey("next_of_theirs")]
        )
        assert done.success
        assert done.output_for_node("next_of_theirs") == "theirs again"
    assert seen == (["theirs", "theirs again"] if with_own else [])


def test_databases_are_exactly_those_given(settings: Settings) -> None:
    """Neither lines nor words; two definitions with equal settings can be merged."""
    reviews = build_definitions(settings, [REVIEWS])
    assert {key.path[0] for key in reviews.resolve_asset_graph().get_all_asset_keys()} == {"reviews"}
    other = build_definitions(settings, [Database(name="answers", batch_type="ANSWER", delta_folder="answers")])
    both = dg.Definitions.merge(reviews, other).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in both} == {"reviews", "answers"}
    with pytest.raises(SettingsError, match="two databases have the name 'reviews'"):
        build_definitions(settings, [REVIEWS, REVIEWS])
