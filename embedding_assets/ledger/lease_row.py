"""The item of a lease as it was read from the table.

Other programs and people can write such an item too. One without a `record_version`, or with an attribute of
the wrong type, does not count as held: nobody could ever see that its holder stopped renewing it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LeaseRow:
    """`owner` is None if it was released or does not count as held, `stamp` the raw `record_version`, if any.

    `published` is the version that a holder noted as published.
    """

    owner: str | None
    epoch: int
    stamp: Mapping[str, Any] | None
    lease_seconds: float
    purpose: str
    published: str | None
    well_formed: bool

    @property
    def is_free(self) -> bool:
        """Whether it can be taken at once."""
        return self.owner is None

    @property
    def was_released(self) -> bool:
        """Whether its last holder certainly gave it back."""
        return self.owner is None and self.well_formed

    @property
    def record_version(self) -> str | None:
        """The `record_version` if it is a text, as we write it."""
        return _text(self.stamp)


def read_row(item: Mapping[str, Any], default_lease_seconds: float) -> LeaseRow:
    """The row of a DynamoDB item (attributes with their type). Never raises, whatever the item holds."""
    epoch, lease = _number(item.get("epoch", {"N": "0"})), _number(item.get("lease_seconds"))
    if "lease_seconds" not in item:
        lease = default_lease_seconds
    owner, stamp = item.get("owner"), item.get("record_version")
    well_formed = (
        _text(stamp) is not None
        and (owner is None or _text(owner) is not None)
        and epoch is not None
        and "N" in item.get("epoch", {"N": "0"})
        and lease is not None
        and lease >= 0
        and "N" in item.get("lease_seconds", {"N": "0"})
    )
    return LeaseRow(
        owner=_text(owner) if well_formed else None,
        epoch=int(epoch) if epoch is not None else 0,
        stamp=stamp,
        lease_seconds=lease if well_formed and lease is not None else default_lease_seconds,
        purpose=_text(item.get("execution_id")) or "",
        published=_text(item.get("published")),
        well_formed=well_formed,
    )


def unchanged(seen: LeaseRow | None) -> tuple[str, dict[str, Any]]:
    """The condition that the item is still as it was seen, and the values that the condition names."""
    if seen is None:
        return "attribute_not_exists(PK)", {}
    if seen.stamp is None:
        return "attribute_not_exists(record_version)", {}
    return "record_version = :seen", {":seen": seen.stamp}


def _text(attribute: Mapping[str, Any] | None) -> str | None:
    value = attribute.get("S") if attribute is not None else None
    return value if isinstance(value, str) else None


def _number(attribute: Mapping[str, Any] | None) -> float | None:
    """The number of an attribute, also if it was written as a text; None if it is neither, or not finite."""
    value = (attribute or {}).get("N", (attribute or {}).get("S"))
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
