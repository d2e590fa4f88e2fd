"""The variables that the SDKs read for themselves, checked before they do.

A key that comes from a file often ends in a line break. HTTP libraries refuse such a header and quote it in their
error, so that it ends in logs and in Dagster's databases.
"""

from __future__ import annotations

import os

from embedding_assets.errors import SettingsError
from embedding_assets.text.redaction import ENDPOINTS, IN_HEADERS
from embedding_assets.tls import check_addresses

PLAIN = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables that are no secret, but end in headers and host names too."""
OF_AWS = "AWS_ENDPOINT_URL"
"""With `_S3` and the like at its end for a single service."""


def check_credentials() -> None:
    """Take white space from around keys, tokens and endpoints in the environment.

    SettingsError names a variable that still has a line break or another control character, and not its value; or
    one that leads to another machine without TLS.
    """
    for name in (*IN_HEADERS, *ENDPOINTS, *PLAIN):
        value = os.environ.get(name)
        if value is None:
            continue
        if value != value.strip():
            os.environ[name] = value = value.strip()
        if not value.isprintable() or (name in IN_HEADERS and not value.isascii()):
            kind = ", in ASCII" if name in IN_HEADERS else ""
            raise SettingsError(
                f"{name} is not allowed (its value is not shown): "
                f"it must be one line without control characters{kind}"
            )
    for name, value in os.environ.items():
        if name == "OPENAI_BASE_URL" or name.startswith(OF_AWS):
            check_addresses(name, value)
