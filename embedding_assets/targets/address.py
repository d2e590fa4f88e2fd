"""`EMBEDDING_ASSETS_TARGETS`: servers as `name=chroma+http://host:port/tenant/database`, with commas between."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from embedding_assets.chroma.server import ServerAddress
from embedding_assets.errors import SettingsError

SETTING = "EMBEDDING_ASSETS_TARGETS"
FORM = "name=chroma+http://host:port/tenant/database"
SCHEMES = {"chroma+http": False, "chroma+https": True}
PORTS = {False: 8000, True: 443}
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Target:
    """A server that gets every version."""

    name: str
    address: ServerAddress


def parse_targets(text: str | None) -> tuple[Target, ...]:
    """The targets that the setting names. Raises SettingsError, without its user information, if it is wrong.

    A password in an address is the server's token.
    """
    targets = [_parsed(part.strip()) for part in (text or "").split(",") if part.strip()]
    names = [target.name for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"{SETTING} has two targets {twice!r}")
    return tuple(targets)


def _parsed(text: str) -> Target:
    name, _, url = text.partition("=")
    if not NAME.fullmatch(name):
        raise SettingsError(f"{SETTING}: a target is {FORM}; a name is 1 to 64 of [A-Za-z0-9_-]")
    wrong = f"{SETTING}: the address of target {name} is not {FORM} (or chroma+https)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(wrong) from None
    path = [unquote(one) for one in parts.path.split("/") if one]
    if parts.scheme not in SCHEMES or not parts.hostname or len(path) != 2 or parts.query or parts.fragment:
        raise SettingsError(wrong)
    ssl = SCHEMES[parts.scheme]
    token = unquote(parts.password) if parts.password else None
    return Target(name, ServerAddress(parts.hostname, port or PORTS[ssl], ssl, path[0], path[1], token))
