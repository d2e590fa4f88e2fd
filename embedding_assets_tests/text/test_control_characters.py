"""What commands a terminal is shown, not obeyed."""

from __future__ import annotations

import json
import unicodedata

import orjson
import pytest

from embedding_assets.text.control_characters import visible, visible_json, visible_lines

CONTROLS = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]
OVERRIDES = [chr(code) for code in [0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]]


@pytest.mark.parametrize("sign", [*CONTROLS, *OVERRIDES, "\ud83e"], ids=ascii)
def test_it_is_escaped(sign: str) -> None:
    """Every character of C0 and C1, DEL, bidirectional overrides, line separators, halves of a pair."""
    shown = visible(f"a{sign}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == f"a{sign}b"


def test_line_breaks_of_ours_stay() -> None:
    """A traceback is of several lines; a carriage return is not ours."""
    assert visible_lines("a\n\tb\rc\x9b") == "a\n\tb\\rc\\x9b"


@pytest.mark.parametrize("text", ["Grüße, 漢字, שלום, 🧾, e\u0301 and \u200f\u200d", "", "C:\\x1b"])
def test_other_text_stays(text: str) -> None:
    """Any script, marks and joiners included."""
    assert visible(text) == visible_lines(text) == visible_json(text) == text


def test_json_has_them_as_escapes() -> None:
    """orjson leaves DEL, C1 and the overrides as they are; what is parsed is the same."""
    document = {"id": "".join([*CONTROLS, *OVERRIDES])}
    text = visible_json(orjson.dumps(document).decode())
    assert json.loads(text) == document
    assert {
        sign for sign in text if unicodedata.category(sign) in ("Cc", "Zl", "Zp") or sign in OVERRIDES
    } == set()
