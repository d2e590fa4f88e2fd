"""The Dagster resource through which assets and sensors reach the services."""

from dagster import ConfigurableResource, InitResourceContext
from pydantic import PrivateAttr

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
