"""Ids of batches and of executions: their form, and when an execution was planned."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

EXECUTION_ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")
BATCH_ID = re.compile(r"^[A-Za-z0-9_-]{1,128}$")


def is_batch_id(value: str) -> bool:
    """Whether `value` can be a batch id: a safe key, and not of the form of an execution id."""
    return bool(BATCH_ID.fullmatch(value)) and not EXECUTION_ID.fullmatch(value)


def new_execution_id(now: datetime) -> str:
    """`YYYYMMDDTHHMMSSZ-` and 8 hex digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def planned_at(execution_id: str) -> datetime | None:
    """When an execution was planned, as its id says; None if it is not an execution's id."""
    try:
        return datetime.strptime(execution_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
