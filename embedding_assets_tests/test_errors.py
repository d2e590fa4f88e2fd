"""The tree of errors is drawn once, and is what the code says."""

from __future__ import annotations

import re

from embedding_assets import errors


def test_the_drawn_tree_is_the_real_one() -> None:
    """Every class stands in the drawing below its base, and every drawn name is a class."""
    drawn: list[tuple[str, str]] = []
    below: dict[int, str] = {}
    for text in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+Error)\b", text)
        if found:
            depth = len(found[1]) // 4
            below[depth] = found[2]
            drawn.append((found[2], below.get(depth - 1, "Exception")))
    real = [
        (name, kind.__mro__[1].__name__)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(drawn) > 5
    assert sorted(drawn) == sorted(real)
