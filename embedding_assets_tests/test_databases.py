"""Databases: two ship, a file adds others, and what would not work is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.bucket.keys import delta_prefix, latest_prefix, pointer_key, versions_prefix
from embedding_assets.databases import LINES, WORDS, Database, load_databases
from embedding_assets.errors import SettingsError

LETTERS = "{name: letters, batch_type: LETTER_EMBEDDING, delta_folder: receipt_letters}"


def load(tmp_path: Path, text: str) -> tuple[Database, ...]:
    file = tmp_path / "databases.yaml"
    file.write_text(text, encoding="utf-8")
    return load_databases(file)


def test_two_databases_ship() -> None:
    """Their batch types, folders and keys are the contract's."""
    assert load_databases(None) == (LINES, WORDS)
    assert (LINES.name, LINES.batch_type, LINES.collection, LINES.space) == (
        "lines",
        "LINE_EMBEDDING",
        "lines",
        "l2",
    )
    assert (WORDS.name, WORDS.batch_type, WORDS.collection, WORDS.space) == (
        "words",
        "WORD_EMBEDDING",
        "words",
        "l2",
    )
    assert delta_prefix(LINES) == "lines/delta/lines/receipt_lines/"
    assert delta_prefix(WORDS) == "words/delta/words/receipt_words/"
    assert versions_prefix(LINES) == "lines/snapshot/versions/"
    assert latest_prefix(LINES) == "lines/snapshot/latest/"
    assert pointer_key(WORDS) == "words/snapshot/latest/manifest.json"


@pytest.mark.parametrize("text", [f"- {LETTERS}", f"databases:\n- {LETTERS}", f"databases: [{LETTERS}]"])
def test_a_file_adds_databases(tmp_path: Path, text: str) -> None:
    """A list, or a list under `databases`; the collection defaults to the name, the distance to l2."""
    *shipped, added = load(tmp_path, text)
    assert shipped == [LINES, WORDS]
    assert (added.name, added.collection, added.space) == ("letters", "letters", "l2")
    assert delta_prefix(added) == "letters/delta/letters/receipt_letters/"


def test_everything_can_be_said(tmp_path: Path) -> None:
    """Collection and distance, too; several at once, in their order."""
    text = f"""
- {{name: letters, batch_type: A, delta_folder: f, collection: my.letters-2, space: ip}}
- {LETTERS.replace("letters", "others")}
"""
    _, _, letters, others = load(tmp_path, text)
    assert (letters.collection, letters.space) == ("my.letters-2", "ip")
    assert others.name == "others"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "list"),
        ("7", "list"),
        ("databases: 7", "list"),
        ("other: []", "list"),
        ("- [", "YAML"),
        ("- 7", "database 1"),
        ("- {}", "database 1: name"),
        (f"- {LETTERS}\n- {{name: other}}", "database 2: batch_type"),
        ("- {name: ab, batch_type: A, delta_folder: f}", "name"),
        ("- {name: a-b, batch_type: A, delta_folder: f}", "name"),
        ("- {name: a/b, batch_type: A, delta_folder: f}", "name"),
        ("- {name: 123, batch_type: A, delta_folder: f}", "name"),
        ("- {name: letters, batch_type: 'A#B', delta_folder: f}", "batch_type"),
        ("- {name: letters, batch_type: '', delta_folder: f}", "batch_type"),
        ("- {name: letters, batch_type: A, delta_folder: a/b}", "delta_folder"),
        ("- {name: letters, batch_type: A, delta_folder: ..}", "delta_folder"),
        ("- {name: letters, batch_type: A, delta_folder: f, collection: x}", "collection"),
        ("- {name: letters, batch_type: A, delta_folder: f, collection: -xy}", "collection"),
        ("- {name: letters, batch_type: A, delta_folder: f, space: cosine}", "cosine is refused"),
        ("- {name: letters, batch_type: A, delta_folder: f, space: l1}", "space"),
        ("- {name: letters, batch_type: A, delta_folder: f, colection: xyz}", "colection"),
        ("- {name: lines, batch_type: A, delta_folder: f}", "name 'lines'"),
        ("- {name: letters, batch_type: LINE_EMBEDDING, delta_folder: f}", "batch_type 'LINE_EMBEDDING'"),
        (f"- {LETTERS}\n- {LETTERS}", "name 'letters'"),
        *(
            (f"- {{name: {name}, batch_type: A, delta_folder: f}}", f"{name!r} is taken")
            for name in (
                "records",
                "manifests",
                "poll_results",
                "chunks",
                "chunk_groups",
                "intermediate",
                "dagster",
            )
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """The variable, the file, which database, which field, and why."""
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"EMBEDDING_ASSETS_DATABASES_FILE={tmp_path / 'databases.yaml'}")
    assert said in message
    assert len(message.splitlines()) == 1


def test_cosine_is_refused_with_its_reason(tmp_path: Path) -> None:
    """Why, and what to take instead."""
    with pytest.raises(SettingsError, match=r"changed vectors.*l2 ranks alike"):
        load(tmp_path, "- {name: letters, batch_type: A, delta_folder: f, space: cosine}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfd"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    """Missing, or no text."""
    file = tmp_path / "databases.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_databases(file)
