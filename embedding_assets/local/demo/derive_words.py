"""Rewrite `words.jsonl` from `lines.jsonl`: `python -m embedding_assets.local.demo.derive_words`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from embedding_assets.local.demo import records

LIMIT = 1500
"""At most so many words, so that the demo stays quick."""

WORD = re.compile(r"\S+")

Record = dict[str, Any]


def derive_words(lines: Iterable[Record], limit: int = LIMIT) -> list[Record]:
    """Return the words of the first receipts of `lines`, whole receipts only, `limit` words at most.

    A word is a run of characters without white space. Its box is cut out of its line's box in proportion to
    the characters, counted from the left in the order of the text, also if the script runs to the left.
    """
    words: list[Record] = []
    for _, receipt in groupby(lines, key=_receipt):
        more = [word for line in receipt for word in words_of(line)]
        if len(words) + len(more) > limit:
            break
        words += more
    return words


def words_of(line: Record) -> list[Record]:
    """Return the words of one line, numbered from 1."""
    text, box = line["text"], line["metadata"]
    return [
        {
            "id": f"{line['id']}#WORD#{number:05d}",
            "text": match.group(),
            "metadata": {
                "image_id": box["image_id"],
                "receipt_id": box["receipt_id"],
                "line_id": box["line_id"],
                "word_id": number,
                "x": round(box["x"] + box["width"] * match.start() / len(text), 2),
                "y": box["y"],
                "width": round(box["width"] * len(match.group()) / len(text), 2),
                "height": box["height"],
            },
        }
        for number, match in enumerate(WORD.finditer(text), start=1)
    ]


def write(file: Path, words: Iterable[Record]) -> None:
    """Write `words` to `file`, one JSON object a line."""
    text = "".join(f"{json.dumps(word, ensure_ascii=False)}\n" for word in words)
    file.write_text(text, encoding="utf-8", newline="\n")


def _receipt(line: Record) -> tuple[str, int]:
    return line["metadata"]["image_id"], line["metadata"]["receipt_id"]


if __name__ == "__main__":
    write(Path(__file__).with_name("words.jsonl"), derive_words(records("lines")))
