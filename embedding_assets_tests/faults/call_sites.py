"""External calls, named: which function of the product does what to which kind of key."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

PLUMBING = (
    "/openai_batches/limited_client.py",
    "/bucket/store.py",
    "/bucket/aws.py",
    "/ledger/ledger.py",
    "/ledger/row_table.py",
)
"""Files that every call goes through: whoever called them is told."""

UNIQUE = (
    (re.compile(r"\.\d+-[0-9a-f]{12}-[0-9a-f]{32}"), ".{version}-{unique}"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), "{uuid}"),
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}"), "{execution}"),
    (re.compile(r"\b\d+-[0-9a-f]{12}\b"), "{version}"),
    (re.compile(r"(?<=versions/\{version\}/)(?!records\.arrow|manifest\.json)(?:\{uuid\}/)?[^,{]+"), "{file}"),
    (re.compile(r"[0-9a-f]{32}"), "{delta}"),
    (re.compile(r"\b(?:file|batch)[-_][0-9a-zA-Z]+"), "{id}"),
    (re.compile(r"openai-[a-z0-9-]+"), "{openai_batch}"),
    (re.compile(r"(?<=BATCH#)[^/\"' ]+"), "{batch}"),
    (re.compile(r"(?<=poll_results/)(?!\{)[^/]+"), "{batch}"),
    (re.compile(r"(?<=records/)[^/]+(?=\.jsonl)"), "{batch}"),
    (re.compile(r"(chunk|group)([-_])\d+"), r"\1\2{n}"),
)
"""What differs from run to run, and its name in a pattern."""

OWN_FOLDER = ("executions.write_index.IndexWriting._written",)
"""Functions that rename within a folder of their own process: nobody else sees that."""

ANONYMOUS = re.compile(r"\.?<(?:locals|lambda|listcomp|genexpr|dictcomp|setcomp)>\.?")


@dataclass(frozen=True, order=True)
class CallSite:
    """One place of the product that reaches outside."""

    caller: str
    operation: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.caller} {self.operation} {self.pattern}"


def site_of_aws(service: str, operation: str, parameters: Mapping[str, Any]) -> CallSite:
    """The site of a call of boto3."""
    return CallSite(_caller(), f"{service}.{operation}", _pattern(_subject(parameters)))


def site_of_http(method: str, path: str) -> CallSite:
    """The site of a call of the OpenAI SDK."""
    return CallSite(_caller(), f"openai.{method}", _pattern(path))


def site_of_rename(operation: str, target: str) -> CallSite:
    """The site of a local rename."""
    return CallSite(_caller(), f"os.{operation}", _pattern(target.rpartition("/")[2]))


def called_by_the_product() -> bool:
    """Whether the nearest caller that is not of a library is the product."""
    return _caller() != "elsewhere"


def seen_by_others() -> bool:
    """Whether what the product renames now is, or may be, where other processes look."""
    return called_by_the_product() and _caller() not in OWN_FOLDER


def _subject(parameters: Mapping[str, Any]) -> str:
    if "Delete" in parameters:
        return ",".join(sorted({_pattern(entry["Key"]) for entry in parameters["Delete"]["Objects"]}))
    if "Key" in parameters:
        key = parameters["Key"]
        return key if isinstance(key, str) else f"{key['PK']['S']}/{key['SK']['S']}"
    if "Item" in parameters:
        return f"{parameters['Item']['PK']['S']}/{parameters['Item']['SK']['S']}"
    if "RequestItems" in parameters:
        return "BATCH#*"
    if "ExpressionAttributeValues" in parameters:
        return "STATUS#{status}"
    return str(parameters.get("Prefix", ""))


def _pattern(text: str) -> str:
    for unique, name in UNIQUE:
        text = unique.sub(name, text)
    return text


def _caller() -> str:
    frame: FrameType | None = sys._getframe(1)
    plumbing: str | None = None
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("embedding_assets."):
            site = f"{name.removeprefix('embedding_assets.')}.{_function(frame)}"
            if not frame.f_code.co_filename.endswith(PLUMBING):
                return site
            plumbing = plumbing or site
        frame = frame.f_back
    return plumbing or "elsewhere"


def _function(frame: FrameType) -> str:
    return re.sub(
        r"\.?<(locals|lambda|listcomp|genexpr|dictcomp|setcomp)>\.?", ".", frame.f_code.co_qualname
    ).strip(".")
