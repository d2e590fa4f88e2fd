"""The control API of the local OpenAI server: counters, and faults on request."""

from __future__ import annotations

import time
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from embedding_assets.local.openai_batches import BatchStore
from embedding_assets.local.openai_errors import ApiError
from embedding_assets.local.openai_files import FileStore
from embedding_assets.local.openai_plans import HttpFault, OtherProject, PlanOrder, PlantedBatch
from embedding_assets.local.openai_planted import plant
from embedding_assets.local.openai_traffic import CONTROL_PREFIX, Traffic

M = TypeVar("M", bound=BaseModel)


class Control:
    """The routes under `/_control`."""

    def __init__(self, files: FileStore, batches: BatchStore, traffic: Traffic) -> None:
        self._files = files
        self._batches = batches
        self._traffic = traffic

    def routes(self) -> list[Route]:
        """All control routes."""
        return [
            Route(f"{CONTROL_PREFIX}/reset", self.reset, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/counters", self.counters, methods=["GET"]),
            Route(f"{CONTROL_PREFIX}/counters/reset", self.reset_counters, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/plans", self.order_plan, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/faults", self.order_fault, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/faults", self.clear_faults, methods=["DELETE"]),
            Route(f"{CONTROL_PREFIX}/projects", self.other_project, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/batches", self.plant_batch, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/batches/{{id}}", self.forget_batch, methods=["DELETE"]),
            Route(f"{CONTROL_PREFIX}/files/{{id}}", self.delete_file, methods=["DELETE"]),
        ]

    async def reset(self, request: Request) -> Response:
        """Forget all batches, files, plans, faults and counts."""
        self._batches.clear()
        self._files.clear()
        self._traffic.clear_faults()
        self._traffic.forget_other_projects()
        self._traffic.reset_counters()
        return _done()

    async def counters(self, request: Request) -> Response:
        """Counts by route."""
        return JSONResponse(self._traffic.counters())

    async def reset_counters(self, request: Request) -> Response:
        """Begin counting again."""
        self._traffic.reset_counters()
        return _done()

    async def order_plan(self, request: Request) -> Response:
        """Set the plan of a batch, or of batches to come. Body: PlanOrder."""
        self._batches.order(await _body(request, PlanOrder))
        return _done()

    async def order_fault(self, request: Request) -> Response:
        """Order a fault of HTTP. Body: HttpFault."""
        self._traffic.add_fault(await _body(request, HttpFault))
        return _done()

    async def clear_faults(self, request: Request) -> Response:
        """Forget all ordered HTTP faults."""
        self._traffic.clear_faults()
        return _done()

    async def other_project(self, request: Request) -> Response:
        """From now on this key is one of another project. Body: OtherProject."""
        self._traffic.add_other_project((await _body(request, OtherProject)).key)
        return _done()

    async def plant_batch(self, request: Request) -> Response:
        """Put a batch there as it is. Body: PlantedBatch; the answer is its batch object."""
        planted = plant(await _body(request, PlantedBatch), self._files, time.time())
        self._batches.plant(planted)
        return JSONResponse(planted.body)

    async def forget_batch(self, request: Request) -> Response:
        """From now on the batch is unknown."""
        self._batches.forget(request.path_params["id"])
        return _done()

    async def delete_file(self, request: Request) -> Response:
        """From now on the file is unknown."""
        self._files.delete(request.path_params["id"])
        return _done()


async def _body(request: Request, model: type[M]) -> M:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or model.__name__
        raise ApiError(400, f"{where}: {first['msg']}", param=where) from error


def _done() -> Response:
    return JSONResponse({"ok": True})
