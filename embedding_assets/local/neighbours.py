"""A guard against the machine's own browser: the embedded servers answer programs, not web pages.

Any page may send requests to 127.0.0.1. It cannot leave out the `Origin` header of those that change something.
If it lets a name of its own point to 127.0.0.1 (DNS rebinding), it sends that name as the `Host`. Both are
refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

FORBIDDEN = 403
FOREIGN_SITES = frozenset({"cross-site", "same-site"})
"""Values of `Sec-Fetch-Site` by which browsers say that another page made the request."""


class ProgramsOnly:
    """ASGI middleware in front of `app`, which listens on `address`: 403 and one line for what a web page sent.

    A `Host` must be a loopback address, `localhost` or a name below it, or `address` itself; any IP address, if
    the server listens on all of them: rebinding needs a name.
    """

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._app = app
        self._address = address.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope["headers"]) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(f"{reason}\n", FORBIDDEN)(scope, receive, send)

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        values = [(name.lower(), value.decode("latin-1")) for name, value in headers]
        hosts = [value for name, value in values if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(_without_port(hosts[0])):
            return "this server answers only requests to its own address"
        if any(name == b"origin" for name, _ in values):
            return "this server answers no web page: the request has an Origin"
        if any(name == b"sec-fetch-site" and value in FOREIGN_SITES for name, value in values):
            return "this server answers no web page: the request comes from another site"
        return None

    def _is_ours(self, host: str) -> bool:
        if host in ("localhost", self._address) or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or _is_any(self._address)


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def _without_port(host: str) -> str:
    """The host of `host:port` or `[address]:port`, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
