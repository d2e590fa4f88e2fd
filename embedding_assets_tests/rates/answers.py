"""The answers with which S3, DynamoDB and OpenAI refuse a call for the moment, as they send them."""

from __future__ import annotations

import json

from embedding_assets_tests.rates.faults import Fault, Service

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers without the length, body."""

RETRY_AFTER = {"Retry-After": "1", "retry-after-ms": "20"}
"""The milliseconds are what clients look at first; a test does not wait for a second."""
S3_CODES = {Fault.SLOW_DOWN: (503, "SlowDown"), Fault.INTERNAL: (500, "InternalError")}
DYNAMODB_CODES = {Fault.THROTTLED: (400, "ThrottlingException"), Fault.INTERNAL: (500, "InternalServerError")}
OPENAI_CODES = {
    Fault.SLOW_DOWN: (503, "service_unavailable"),
    Fault.INTERNAL: (500, "server_error"),
    Fault.TOO_MANY: (429, "rate_limit_exceeded"),
}


def refusal(service: Service, fault: Fault) -> Answer:
    """The answer of `service` instead of doing what was asked."""
    if service == "s3":
        status, code = S3_CODES[fault]
        xml = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>later</Message></Error>'
        return status, {"Content-Type": "application/xml"}, xml.encode()
    if service == "dynamodb":
        status, code = DYNAMODB_CODES[fault]
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "later"}
        return status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode()
    status, code = OPENAI_CODES[fault]
    error = {"error": {"message": "later", "type": code, "param": None, "code": code}}
    headers = {"Content-Type": "application/json"}
    if fault is Fault.TOO_MANY:
        headers |= RETRY_AFTER
    return status, headers, json.dumps(error).encode()
