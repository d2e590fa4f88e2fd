"""Secrets: which values of the environment are secret, and the filter that keeps them out of every text.

Promise: no text that went through `redacted` contains the value of a secret variable, the user information of a
proxy's or endpoint's URL, or an encoded form of either. Every error of this package goes through it when it is
made (`errors`), every line of a command (`cli.output`, `cli.failures`), every log line and error that Dagster
stores (`dagster_defs.assets.boundary`), and every text from outside that is stored (`ledger`,
`openai_batches.output`).
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

REPLACEMENT = "***"

IN_HEADERS = (
    "OPENAI_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENAI_WEBHOOK_SECRET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)
"""Variables whose whole value is secret and one line of printable ASCII: the SDKs send it in, or sign, headers."""

HEADER_LISTS = ("OPENAI_CUSTOM_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Variables of several headers, each with a secret: `name: value` lines, or `name=value` with commas between."""

SECRET_URLS = ("EMBEDDING_ASSETS_WEBHOOK_URL",)
"""Variables that are secret as a whole, though a URL: who knows the address may post there."""

ENDPOINTS = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "OPENAI_BASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_STS",
)
URLS = (*ENDPOINTS, "EMBEDDING_ASSETS_TARGETS")
"""Variables whose URLs may have user information."""

SHORTEST = 8
"""Shorter values are not looked for: they are words like `test`, which say nothing and occur everywhere."""
CERTAIN = 16
"""Shorter values are found only between characters that belong to no word."""

UNDECODED = "surrogateescape"
"""How Python keeps the bytes of a variable that are no UTF-8."""

_USER_INFORMATION = re.compile(r"(?<=//)[^/?#\s\"'<>\\]+@")
_remembered: set[str] = set()


def redacted(text: str) -> str:
    """`text` without the secrets of the environment and without the user information of any URL."""
    return _USER_INFORMATION.sub(f"{REPLACEMENT}@", without_secrets(text))


def without_secrets(text: str) -> str:
    """`text` without the secrets of the environment; other URLs stay as they are. For users' own data."""
    pattern = _pattern(_configured(os.environ), frozenset(_remembered))
    return text if pattern is None else pattern.sub(REPLACEMENT, text)


def remember_secret(value: str | None) -> None:
    """Treat a value as secret that is in no variable: credentials from a file, say."""
    if value:
        _remembered.add(value)


def quotes_secret(error: BaseException) -> bool:
    """Whether a secret is in what would be stored of an error: its text, its causes, their notes."""
    text = "".join(traceback.format_exception(error))
    return redacted(text) != text


def _configured(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that are set and may have secrets, with their values."""
    names = (*IN_HEADERS, *HEADER_LISTS, *SECRET_URLS, *URLS)
    return tuple((name, value) for name in names if (value := environment.get(name)))


@functools.lru_cache(maxsize=8)
def _pattern(configured: tuple[tuple[str, str], ...], remembered: frozenset[str]) -> re.Pattern[str] | None:
    secrets = {*remembered}
    for name, value in configured:
        secrets.update(_secrets_of(name, value))
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
    if not forms:
        return None
    return re.compile("|".join(_expression(form) for form in sorted(forms, key=len, reverse=True)))


def _expression(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= CERTAIN else rf"(?<!\w){escaped}(?!\w)"


def _secrets_of(name: str, value: str) -> Iterator[str]:
    if name in (*IN_HEADERS, *SECRET_URLS):
        yield value.strip()
    elif name in HEADER_LISTS:
        for header in re.split(r"[\n,]", value):
            yield from (part.strip() for part in re.split(r"[:=]", header, maxsplit=1)[1:])
    else:
        for address in re.split(r"[\s,]+", value):
            yield from _user_information(address)


def _user_information(address: str) -> Iterator[str]:
    """What is secret in `scheme://user:password@host`; without a password the user is a token."""
    user_information = address.partition("//")[2] or address
    user_information, at, _ = user_information.rpartition("@")
    if not at:
        return
    user, colon, password = user_information.partition(":")
    yield user_information
    yield password if colon else user
    decoded = f"{unquote(user)}:{unquote(password)}"
    yield decoded
    yield unquote(password)
    yield base64.b64encode(decoded.encode(errors=UNDECODED)).decode().rstrip("=")


def _forms(secret: str) -> set[str]:
    """A secret as it is, and as URLs, JSON and Python's `repr` write it."""
    return {
        secret,
        quote(secret, safe="", errors=UNDECODED),
        quote_plus(secret, errors=UNDECODED),
        json.dumps(secret)[1:-1],
        secret.encode("unicode_escape").decode("ascii"),
    }
