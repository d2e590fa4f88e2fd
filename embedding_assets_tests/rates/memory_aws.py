"""S3 and DynamoDB in memory, as boto3's clients in bad weather: they send again what botocore sends again."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from embedding_assets_tests.rates.answers import DYNAMODB_CODES, S3_CODES
from embedding_assets_tests.rates.faults import Fault, Service
from embedding_assets_tests.rates.logged import Weather
from embedding_assets_tests.schedules.memory_s3 import Pages

TRIES = 6
SLOW_SECONDS = 0.1
SENT_AGAIN = (ClientError, ConnectionClosedError, ReadTimeoutError)


class StormyClient:
    """A client in memory whose calls go as the weather wants it."""

    def __init__(self, client: Any, service: Service, weather: Weather, tries: int = TRIES) -> None:
        self._client = client
        self._service = service
        self._weather = weather
        self._tries = tries

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            for _ in range(self._tries - 1):
                try:
                    return self._once(operation, request)
                except SENT_AGAIN as error:
                    if isinstance(error, ClientError) and error.response["Error"]["Code"] not in CODES:
                        raise
                    time.sleep(1.0)
            return self._once(operation, request)

        return call

    def get_paginator(self, operation: str) -> Pages:
        """As boto3's."""
        return Pages(self, operation)

    def _once(self, operation: str, request: dict[str, Any]) -> Any:
        with self._weather.call(self._service, f"{operation} {_subject(request)}") as fault:
            if fault is not None and fault.refuses:
                raise self._refusal(fault)
            if fault is Fault.RESET_BEFORE:
                raise ConnectionClosedError(endpoint_url="memory")
            if hasattr(request.get("Body"), "seek"):
                request["Body"].seek(0)
            answer = getattr(self._client, operation)(**request)
            if fault is Fault.SLOW:
                time.sleep(SLOW_SECONDS)
            if fault in (None, Fault.SLOW):
                return answer
            if operation == "get_object" and fault is not Fault.LOST:
                return _with_broken_body(answer, fault)
            if fault is Fault.CUT_WITHOUT_LENGTH and operation in ("list_objects_v2", "delete_objects"):
                raise ResponseParserError("the answer is no XML")
            raise ReadTimeoutError(endpoint_url="memory")

    def _refusal(self, fault: Fault) -> ClientError:
        status, code = (S3_CODES if self._service == "s3" else DYNAMODB_CODES)[fault]
        error: Any = {"Error": {"Code": code, "Message": "later"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return ClientError(error, "memory")


CODES = {code for _, code in (*S3_CODES.values(), *DYNAMODB_CODES.values())}


class _Broken(io.BytesIO):
    """A body that ends with a broken connection."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if not found or size in (-1, None):
            raise ReadTimeoutError(endpoint_url="memory")
        return found


def _with_broken_body(answer: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    data = answer["Body"].read()
    half = data[: len(data) // 2]
    if fault is not Fault.CUT_WITHOUT_LENGTH:
        return {**answer, "Body": _Broken(half)}
    return {name: value for name, value in answer.items() if name != "ContentLength"} | {"Body": io.BytesIO(half)}


def _subject(request: dict[str, Any]) -> str:
    """What a call is about: a key, a prefix, a row, or the rows of a status."""
    key = request.get("Key", request.get("Prefix", request.get("Item")))
    if isinstance(key, str):
        return key
    if key is None:
        return str(request.get("ExpressionAttributeValues", {}).get(":status", {}).get("S", ""))
    return f"{key['PK']['S']}/{key['SK']['S']}"
