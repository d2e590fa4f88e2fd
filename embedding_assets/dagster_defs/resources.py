"""The Dagster resources through which assets, sensors and IO managers reach the services."""

from typing import Any

from dagster import ConfigurableResource, InitResourceContext
from dagster_aws.s3 import S3Resource
from pydantic import PrivateAttr

from embedding_assets.bucket.aws import s3_client
from embedding_assets.databases import Database
from embedding_assets.services import Services, connect


class ServicesResource(ConfigurableResource[Services]):
    """The bucket, the table and OpenAI, connected from the environment's settings, once a process."""

    _services: Services | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Read the settings before anything runs."""
        self._services = connect()

    @property
    def services(self) -> Services:
        """The services; connected on first use where Dagster did not set the resource up."""
        if self._services is None:
            self._services = connect()
        return self._services

    def database(self, name: str) -> Database:
        """The database called `name`, from the settings."""
        return self.services.settings.database(name)


class SharingS3Resource(S3Resource):
    """S3 as everybody else of the process reaches it, unless it is configured otherwise.

    Each step's process makes its own clients, and those of `dagster_aws` took a quarter of its processor time.
    """

    def get_client(self) -> Any:
        """A client, made with what the process has parsed of botocore's data already."""
        return super().get_client() if self.model_dump(exclude_defaults=True) else s3_client()
