"""Help, wrong usage, and exit codes as a shell sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from embedding_assets import extras
from embedding_assets.cli import lazy_group
from embedding_assets.cli.main import app
from embedding_assets_tests.cli.commands import command, failed


def every_command(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command and group."""
    for name in group.list_commands(None):
        yield (*path, name)
        found = group.get_command(None, name)
        if hasattr(found, "list_commands"):
            yield from every_command(found, (*path, name))


COMMANDS = list(every_command(typer.main.get_command(app)))


def test_the_commands_are_there() -> None:
    """Those that everything else here relies on."""
    assert set(COMMANDS) >= {
        ("demo",),
        ("dev",),
        ("submit",),
        ("status",),
        ("ingest",),
        ("reprocess",),
        ("reset",),
        ("search",),
        ("snapshots", "list"),
        ("snapshots", "show"),
        ("snapshots", "pull"),
    }


@pytest.mark.parametrize("name", lazy_group.COMMANDS)
def test_a_missing_extra_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the bare installation says at once which extra it needs; the list of commands is there."""
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    wanted = {"demo": "local", "dev": "local", "local": "local", "serve": "serve"}.get(name, "pipeline")
    start = f"`embedding-assets {name}` needs the extra `{wanted}`: pip install 'embedding-assets[{wanted}]' (not"
    assert failed(name).startswith(start)
    assert (command("--help").code, command("--version").code) == (0, 0)


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=lambda path: " ".join(path) or "embedding-assets")
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """`--help` ends with 0, on stdout, without any setting, and says more than the command's name."""
    outcome = command(*path, "--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert "Usage:" in outcome.stdout
    assert len(outcome.stdout.split()) > 15


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("ingest", "--nonsense"),
        ("search", "lines"),
        ("search", "lines", "text", "-k", "0"),
        ("search", "lines", "text", "-k", "many"),
        ("submit", "lines"),
        ("reprocess",),
        ("reset", "--batch", "b"),
        ("reset", "--batch", "b", "--status", "DONE"),
        ("snapshots", "nonsense"),
        ("snapshots", "pull", "lines"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    """One line on stderr says what is wrong; no setting is read before that."""
    outcome = command(*arguments)
    assert outcome.code == 2
    assert len(outcome.error) < 300


@pytest.mark.parametrize("arguments", [(), ("snapshots",)], ids=["alone", "snapshots"])
def test_without_a_command_it_shows_its_help(arguments: tuple[str, ...]) -> None:
    """As a page to be read, not as an error of one line; it is wrong usage all the same."""
    outcome = command(*arguments)
    assert outcome.code == 2
    page = outcome.stdout + outcome.stderr
    assert "Usage:" in page
    assert len(page.splitlines()) > 5
    assert "error:" not in page


def test_the_exit_code_reaches_the_shell(tmp_path: Path) -> None:
    """The module as a real process: 0 for help, 1 where a setting is missing, 2 for wrong usage."""
    cases = {0: ["--help"], 1: ["status"], 2: ["status", "--nonsense"]}
    processes = {
        code: subprocess.Popen(
            [sys.executable, "-m", "embedding_assets.cli.main", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for code, arguments in cases.items()
    }
    for code, process in processes.items():
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == code, stderr
        assert bool(stdout) is (code == 0)
        assert len(stderr.splitlines()) == min(code, 1)


def test_the_page_of_help_says_what_the_commands_say() -> None:
    """Its lines are those of the commands, although none of them is imported for it."""
    for name, (_, line) in lazy_group.COMMANDS.items():
        help_text = lazy_group.load(name).help or ""
        assert " ".join(help_text.split("\n\n")[0].split()) == line


def test_help_imports_no_command() -> None:
    """Neither Dagster nor an SDK is loaded for `--help` and `--version`."""
    code = (
        "import sys\n"
        "from embedding_assets.cli.main import app\n"
        "app(args=[sys.argv[1]], standalone_mode=False)\n"
        "print(sorted({'dagster', 'boto3', 'chromadb', 'openai', 'moto'} & sys.modules.keys()))"
    )
    for option in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, timeout=100)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("embedding-assets", "s"), ["search", "serve", "snapshots", "status", "submit"]),
        (("embedding-assets", "snapshots", "r"), ["rebuild", "repair", "rollback"]),
        (("embedding-assets", "status", "--b"), ["--batch"]),
    ],
    ids=" ".join,
)
def test_a_shell_completes(typed: tuple[str, ...], offered: list[str]) -> None:
    """Commands, those of a group, and options, although each is imported only when it is needed."""
    environment = {
        **os.environ,
        "_EMBEDDING_ASSETS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(typed),
        "COMP_CWORD": str(len(typed) - 1),
    }
    code = "import sys; sys.argv = ['embedding-assets']; from embedding_assets.command import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, sorted(done.stdout.split())) == (0, offered), done.stderr
