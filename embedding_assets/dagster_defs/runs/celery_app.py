"""The application of Celery for workers that run steps, for the option `--app` of `celery`.

A worker needs the settings of the environment and the extra `celery`; no DAGSTER_HOME: each step brings where
Dagster's storage is, which must be reachable from here (Postgres, not SQLite). It is configured as the executor.
"""

from __future__ import annotations

from dagster_celery.executor import CeleryExecutor
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

from embedding_assets.dagster_defs.runs.planning import celery_config
from embedding_assets.errors import SettingsError
from embedding_assets.settings import load_settings

settings = load_settings()
if settings.celery_broker is None:
    raise SettingsError("EMBEDDING_ASSETS_CELERY_BROKER is not set (the URL of Celery's broker)")
broker = settings.celery_broker.get_secret_value()
app = make_app(  # type: ignore[no-untyped-call]
    CeleryExecutor.for_cli(  # type: ignore[no-untyped-call]
        broker=broker, backend=broker, config_source=celery_config(settings.celery_visibility_seconds)
    ).app_args()
)
execute_plan = create_task(app)  # type: ignore[no-untyped-call]
