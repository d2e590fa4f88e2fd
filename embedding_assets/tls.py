"""Connections outside this machine have TLS, unless a setting names the host: one rule for every address.

An address without TLS is used if its host is this machine's own (`localhost`, 127.0.0.0/8, `::1`) or one of those
in `EMBEDDING_ASSETS_PLAINTEXT_HOSTS`. Any other is refused before anything is sent. Addresses are checked at the
start (`settings`), and again when a client is made (`calls.credentials`, `bucket.aws`, `telemetry`): programs that
read a version alone have no settings. Proxies are not checked: they get the names of hosts alone if there is TLS.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import re
from urllib.parse import urlsplit

from embedding_assets.errors import SettingsError
from embedding_assets.text.redaction import SECRET_URLS

HOSTS = "EMBEDDING_ASSETS_PLAINTEXT_HOSTS"
WITH_TLS = {
    "http": "https",
    "chroma+http": "chroma+https",
    "redis": "rediss",
    "amqp": "amqps",
    "pyamqp": "amqps",
}
"""Schemes without TLS, and what each is with TLS."""

_ADDRESS = re.compile(r"(?:^|[,;\s])(?:[\w-]+=)?([A-Za-z][A-Za-z0-9+.-]*)://([^\s,;/?#]*)")
"""The URLs of a text that may have several, each perhaps behind a name and `=`."""
_WEB = re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE)
_remembered: set[str] = set()


def allow_hosts(patterns: str | None) -> None:
    """Allow these hosts for this process, as if the variable named them: for settings that are arguments."""
    _remembered.update(_split(patterns))


def check_addresses(variable: str, text: str, *, web: bool = False) -> None:
    """Raise SettingsError if one of the URLs in `text` leads to another machine without TLS.

    With `web` the text must be one address of the web. The line names `variable` and the host; no host for an
    address that is secret as a whole.
    """
    if web and not _WEB.fullmatch(text):
        raise SettingsError(f"{variable} is not allowed: it must be one address that begins with https://")
    for scheme, authority in _ADDRESS.findall(text):
        if scheme.lower() in WITH_TLS:
            check_host(variable, _host(authority), WITH_TLS[scheme.lower()])


def check_host(variable: str, host: str, with_tls: str) -> None:
    """Raise SettingsError unless `host` may be reached without TLS; `with_tls` is what to use instead."""
    if host and (_is_own(host) or any(fnmatch.fnmatchcase(host, pattern) for pattern in _allowed())):
        return
    shown = "a host" if variable in SECRET_URLS or not host else host
    raise SettingsError(
        f"{variable} leads to {shown} without TLS: use {with_tls}, "
        f"or name the host in {HOSTS} if the network to it is private"
    )


def _host(authority: str) -> str:
    """In lower case; empty if it cannot be read."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _allowed() -> set[str]:
    return _remembered | _split(os.environ.get(HOSTS))


def _split(patterns: str | None) -> set[str]:
    return {part.strip().lower() for part in (patterns or "").split(",") if part.strip()}
