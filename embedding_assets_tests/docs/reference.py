"""The pages that are made from the code: `python -m embedding_assets_tests.docs.reference` writes them again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from annotated_types import Ge, Gt
from pydantic.fields import FieldInfo

from embedding_assets.cli.lazy_group import EXTRAS
from embedding_assets.cli.main import app
from embedding_assets.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PROGRAM = "embedding-assets"
NOTE = "<!-- Made from the code by `make reference`; a test fails if this page is stale. -->"

OTHERS = (
    ("`OPENAI_API_KEY`, `OPENAI_BASE_URL`", "OpenAI's SDK"),
    ("`AWS_…`, `AWS_ENDPOINT_URL`", "boto3, also profiles and roles"),
    ("`OTEL_…`", "[OpenTelemetry](metrics.md)"),
    ("`DAGSTER_HOME`", "Dagster. Our commands make `./.dagster_home` if it is unset; `dagster dev` needs it"),
)
"""Variables that others read."""


def settings_page() -> str:
    """Every setting of `Settings`: variable, default, what is allowed, what it means."""
    rows = [_setting(name, field) for name, field in Settings.model_fields.items()]
    return _page(
        "# Settings",
        "",
        "Settings are environment variables, or lines of a `.env` in the working directory; a variable wins. "
        "A value that is not allowed stops the program with one line that says what is.",
        "",
        "In Python they are arguments of `embedding_assets.Settings`: the names below in lower case, "
        "without `EMBEDDING_ASSETS_`; `table_name`, `bucket`, `storage_mode` and `chroma_root` for the four "
        "that have none.",
        "",
        "What only reads versions (`search`, `serve`, `snapshots list / show / diff / verify / pull / export`) "
        "needs no table.",
        "",
        "| variable | default | allowed | meaning |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "## Read by others",
        "",
        "| variable | read by |",
        "| --- | --- |",
        *(f"| {names} | {reader} |" for names, reader in OTHERS),
    )


def _setting(name: str, field: FieldInfo) -> str:
    alias: Any = field.validation_alias
    variable = alias.choices[0] if alias is not None else PREFIX + name.upper()
    default = "required" if field.is_required() else _shown(field.default)
    description = " ".join((field.description or "").split())
    return f"| `{variable}` | {default} | {_allowed(field)} | {description} |"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"`{int(value) if isinstance(value, bool) else value}`"


def _allowed(field: FieldInfo) -> str:
    """Choices, or the kind of value with its lower bound."""
    kind: Any = field.annotation
    kinds = [one for one in (get_args(kind) if get_origin(kind) not in (None, Literal) else (kind,)) if one]
    texts = [text for one in kinds if (text := _kind(one, field.metadata))]
    return " or ".join(dict.fromkeys(texts))


def _kind(kind: Any, metadata: list[Any]) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if hasattr(kind, "__metadata__"):
        inner = [one for part in kind.__metadata__ for one in getattr(part, "metadata", [part])]
        return _kind(kind.__origin__, inner)
    names = {"bool": "`0`, `1`", "int": "whole number", "float": "number", "Path": "path", "NoneType": ""}
    bounds = [
        f" ≥ {one.ge}" if isinstance(one, Ge) else f" > {one.gt}" for one in metadata if isinstance(one, Ge | Gt)
    ]
    return names.get(kind.__name__, "text") + (bounds[0] if bounds else "")


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    root: Any = typer.main.get_command(app)
    return _page(
        "# Commands",
        "",
        "Every command has `--help`. It exits with 0 (done), 1 (failed, with one line on stderr), 2 (wrong "
        "usage), or 128 and the number of the signal that ended it. `--debug`, anywhere on the line, shows "
        "tracebacks and logs. With `--json` stdout has one document; if a command fails before it has one, it "
        'is `{"error": line}`.',
        *(line for path, command in _commands(root, ()) for line in _command(path, command)),
    )


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in group.list_commands(None):
        found = group.get_command(None, name)
        if hasattr(found, "list_commands"):
            yield from _commands(found, (*path, name))
        else:
            yield (*path, name), found


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    name = " ".join(path)
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    shown = " ".join([name, *(_metavar(one) for one in arguments)])
    yield from ("", f"## {name}", "", "```text", f"{PROGRAM} {shown} [OPTIONS]", "```", "")
    yield from (_escaped(line) for line in (command.help or "").strip().splitlines())
    if EXTRAS.get(path[0]):
        yield from ("", f"Needs the extra `{EXTRAS[path[0]]}`.")
    rows = [row for param in command.params if (row := _parameter(param))]
    if rows:
        yield from ("", "| option or argument | default | meaning |", "| --- | --- | --- |", *rows)


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = name.strip("[]").removesuffix("...").strip("[]")
    text = f"{name}…" if argument.nargs == -1 else name
    return text if argument.required else f"[{text}]"


def _parameter(param: Any) -> str | None:
    if param.name == "help" or getattr(param, "hidden", False):
        return None
    if param.param_type_name == "argument":
        return f"| `{_metavar(param)}` | | {_escaped(param.help or '')} |"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    kind: Any = param.type_descriptor.annotation
    choices = list(kind) if isinstance(kind, type) and issubclass(kind, Enum) else []
    of = f" One of {', '.join(f'`{_value(one)}`' for one in choices)}." if choices else ""
    default = param.default if not callable(param.default) else None
    plain = "" if param.is_flag and not param.secondary_opts else _default(default)
    return f"| {names} | {plain} | {_escaped(param.help or '')}{of} |"


def _value(choice: Any) -> str:
    return str(getattr(choice, "value", choice))


def _default(value: Any) -> str:
    if value is True or value is False:
        return "yes" if value else "no"
    return "" if value is None or not isinstance(value, str | int | float) else f"`{value}`"


def _escaped(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _page(title: str, *lines: str) -> str:
    return "\n".join([title, "", NOTE, *lines]) + "\n"


PAGES: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "settings.md": settings_page,
    ROOT / "docs" / "commands.md": commands_page,
}
"""By file: what makes it."""


if __name__ == "__main__":
    for path, make in PAGES.items():
        path.write_text(make(), encoding="utf-8")
