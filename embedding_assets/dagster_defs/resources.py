"""The Dagster resources through which assets, sensors and IO managers reach the services.

Their keys are our own, so that another project's `s3` or `io_manager` is never taken for ours.
"""

from functools import lru_cache
from typing import Any, ClassVar

from dagster import ConfigurableResource, InitResourceContext
from dagster_aws.s3 import S3Resource
from pydantic import PrivateAttr

from embedding_assets.bucket.aws import s3_client
from embedding_assets.services import CLIENTS_KEPT, Environment, Services, connect, of_environment
from embedding_assets.settings import Settings

SERVICES = "embedding_services"
ARTEFACT_IO = "embedding_artefacts"
OP_OUTPUT_IO = "embedding_op_outputs"


class ServicesResource(ConfigurableResource[Services]):
    """The bucket, the table and OpenAI, connected once a process: by `given`, or by the environment's settings."""

    given: ClassVar[Settings | None] = None

    _services: Services | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Read the settings before anything runs."""
        self._services = connect(self.given)

    @property
    def services(self) -> Services:
        """The services; connected on first use if Dagster did not set the resource up."""
        if self._services is None:
            self._services = connect(self.given)
        return self._services


def services_of(settings: Settings) -> ServicesResource:
    """The services by exactly these settings.

    A class of their own holds them: Dagster makes a new instance of a resource's class for each use, from its
    configuration alone.
    """

    class Given(ServicesResource):
        given = settings

    Given.__name__ = Given.__qualname__ = ServicesResource.__name__
    return Given()


class SharingS3Resource(S3Resource):
    """S3 as everybody else of the process reaches it, unless it is configured otherwise.

    Each step's process makes its own clients, and those of `dagster_aws` took a quarter of its processor time.
    """

    def get_client(self) -> Any:
        """The process's client for its environment, made with what is parsed of botocore's data already."""
        if self.model_dump(exclude_defaults=True):
            return super().get_client()
        return _client_of(of_environment())


@lru_cache(maxsize=CLIENTS_KEPT)
def _client_of(environment: Environment) -> Any:
    return s3_client()
