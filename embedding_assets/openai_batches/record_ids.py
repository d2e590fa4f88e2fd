"""Record ids, as lines of requests and answers have them."""

from __future__ import annotations

import json
import math

from embedding_assets.rows.record import is_unicode


def usable_id(value: object) -> str | None:
    """The id of a line: text as it is, a number as JSON writes it. None for what is no id.

    No id are: empty text, text that is not Unicode (a lone surrogate), true, false, null, lists, objects.
    """
    if isinstance(value, str):
        return value if value and is_unicode(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return json.dumps(value)
