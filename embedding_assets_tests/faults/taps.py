"""Where the calls are caught: boto3's one method, the OpenAI SDK's transport, and renames of local files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import botocore.client
import openai._base_client as sdk
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from embedding_assets_tests.faults.call_sites import (
    called_by_the_product,
    seen_by_others,
    site_of_aws,
    site_of_http,
    site_of_rename,
)
from embedding_assets_tests.faults.process import Call, current

RENAMES = ("replace", "rename", "symlink")

Seen = Callable[[str, dict[str, Any]], None]
"""Told of each call of boto3 that was answered: its operation and parameters."""


@contextmanager
def tapped(seen: Seen) -> Iterator[None]:
    """While open, calls of simulated processes go as these are planned."""
    with pytest.MonkeyPatch.context() as patch:
        _tap_aws(patch, seen)
        _tap_openai(patch)
        for operation in RENAMES:
            _tap_rename(patch, operation)
        yield


def _tap_aws(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        def do() -> Any:
            body: Any = parameters.get("Body")
            if hasattr(body, "seek"):
                body.seek(0)
            answer = real(client, operation, parameters)
            seen(operation, parameters)
            return answer

        def refuse() -> Any:
            raise ClientError(
                {
                    "Error": {"Code": "AccessDenied", "Message": "refused by the test"},
                    "ResponseMetadata": {"HTTPStatusCode": 403},  # type: ignore[typeddict-item]
                },
                operation,
            )

        def lose() -> Any:
            raise ReadTimeoutError(endpoint_url="http://lost")

        process = current()
        if process is None:
            return do()
        service = client.meta.service_model.service_name
        return process.call(Call(site_of_aws(service, operation, parameters), do, refuse, lose))

    patch.setattr(botocore.client.BaseClient, "_make_api_call", call)


def _tap_openai(patch: pytest.MonkeyPatch) -> None:
    http: Any = getattr(sdk, "httpx2", None) or sdk.httpx  # type: ignore[attr-defined]
    real = http.Client.send

    def send(client: Any, request: Any, **options: Any) -> Any:
        def do() -> Any:
            return real(client, request, **options)

        def refuse() -> Any:
            return http.Response(403, json={"error": {"message": "refused by the test"}}, request=request)

        def lose() -> Any:
            raise http.ReadTimeout("the answer was lost", request=request)

        process = current()
        if process is None or not called_by_the_product():
            return do()
        return process.call(Call(site_of_http(request.method, request.url.path), do, refuse, lose))

    patch.setattr(http.Client, "send", send)


def _tap_rename(patch: pytest.MonkeyPatch, operation: str) -> None:
    real = getattr(os, operation)

    def call(source: Any, target: Any, **options: Any) -> Any:
        def do() -> Any:
            return real(source, target, **options)

        def refuse() -> Any:
            raise PermissionError(13, "refused by the test")

        process = current()
        if process is None or not seen_by_others():
            return do()
        return process.call(Call(site_of_rename(operation, os.fspath(target)), do, refuse, refuse))

    patch.setattr(os, operation, call)
