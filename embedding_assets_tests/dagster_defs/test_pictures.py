"""Pictures for Dagster's metadata: Markdown that carries a whole SVG, with bars as tall as their values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import dagster as dg

from embedding_assets.dagster_defs.checks.backlog import on_time
from embedding_assets.dagster_defs.history import EARLIER, outcomes_picture, versions_picture
from embedding_assets.dagster_defs.markdown import code
from embedding_assets.dagster_defs.pictures import Bar, Part, bars
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets_tests.dagster_defs.runs.world import World, texts

MARKDOWN = re.compile(r"!\[([^\[\]]*)\]\(<data:image/svg\+xml,([^<>\"&#]+)>\)")
LINE = re.compile(r"m-?\d+ -?\d+v-(\d+)")
INLINE_CHARS = 1000
"""Dagster's UI shows shorter Markdown in its place."""
KEY = dg.AssetKey(["lines", "final_snapshot"])


def picture(markdown: object, *, inline: bool = True) -> tuple[str, dict[str, list[int]], list[str]]:
    """The text for those who cannot see it, heights of the bars by colour, and the texts that are seen."""
    assert isinstance(markdown, str)
    found = MARKDOWN.fullmatch(markdown)
    assert found is not None, markdown[:200]
    assert (len(markdown) < INLINE_CHARS) is inline
    root = ElementTree.fromstring(unquote(found[2]))
    heights = {
        element.attrib["stroke"]: [int(tall) for tall in LINE.findall(element.attrib["d"])]
        for element in root
        if element.tag.endswith("path") and "stroke-width" in element.attrib
    }
    return found[1], heights, ["".join(element.itertext()) for element in root if element.tag.endswith("text")]


def test_bars_are_as_tall_as_their_values() -> None:
    """Stacked, of the tallest; ends are labelled; what is not text for XML or Markdown is neither."""
    shown = [Bar("first <&> [x]", (1, 1)), Bar("middle", (0, 2)), Bar("last]", (3, 1))]
    text, heights, seen = picture(bars("a title", [Part("good", "#111111"), Part("bad", "#222222")], shown))
    assert text == "a title; last : 3 good, 1 bad"
    assert heights == {"#111111": [22, 68], "#222222": [23, 45, 22]}, "90 pixels are 4"
    assert seen == ["a title good bad", "4", "first <&> [x]", "last]"]


def test_nothing_and_much_are_pictures_too() -> None:
    """No bar, a single one, and as many as are ever shown: still short, unless all of them have failures."""
    parts = [Part(name, "#111") for name in ("embedded", "failed", "unfinished")]
    assert picture(bars("t", parts, []))[0] == "t; nothing yet"
    assert picture(bars("t", parts, [Bar("one", (0, 0, 0))]))[0] == "t; one: 0 embedded, 0 failed, 0 unfinished"
    title = "requests by execution, UTC:"
    many = [
        Bar(f"{number}-{'f' * 12}", (12_345_678, 0, 1_234.5 * (number % 7 == 0))) for number in range(EARLIER + 1)
    ]
    assert "12,345,678 embedded, 0 failed" in picture(bars(title, parts, many))[0]
    worse = [Bar(bar.label, (1, 1, 1)) for bar in many]
    assert picture(bars(title, parts, worse), inline=False)[1] == {"#111": [30] * len(many)}


def reported(instance: dg.DagsterInstance, version: str, count: int) -> None:
    """A version that was published earlier."""
    metadata: dict[str, dg.MetadataValue] = {
        "snapshot_version": dg.MetadataValue.text(version),
        "total_embeddings": dg.MetadataValue.int(count),
    }
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=metadata))


def test_each_version_is_one_bar() -> None:
    """In the order in which they were reported last; other events of the asset are passed over."""
    with dg.DagsterInstance.ephemeral() as instance:
        for version, count in (("1-a", 10), ("2-b", 20), ("1-a", 10)):
            reported(instance, version, count)
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
        newest = {
            "snapshot_version": dg.MetadataValue.text("3-c"),
            "total_embeddings": dg.MetadataValue.int(30),
        }
        text, heights, seen = picture(versions_picture(instance, KEY, newest).value)
    assert text == "embeddings in each version; 3-c: 30 embeddings"
    (tall,) = heights.values()
    assert tall == [60, 30, 90], "the second one was reported last before the first one was again"
    assert seen[-2:] == ["2-b", "3-c"]


def test_a_run_shows_them(world: World) -> None:
    """With numbers beside them that Dagster plots itself: cost, age, nodes, recall."""
    world.plant(
        "good", texts("a", 3), row={"request_count": 3, "token_count": 6, "model": "text-embedding-3-small"}
    )
    world.ingest()
    some = texts("b", 2)
    world.plant("partly", some, status="expired", answered=some[:1])
    world.ingest()
    final, polled = (newest(world, asset) for asset in ("final_snapshot", "execution_poll_results"))
    text, heights, _ = picture(final["versions"])
    assert text.endswith(": 4 embeddings")
    assert [len(tall) for tall in heights.values()] == [2]
    text, heights, _ = picture(polled["outcomes"])
    assert text.endswith(": 1 embedded, 0 failed, 1 unfinished")
    assert polled["oldest_hours"] > 0
    assert "cost_usd" not in polled, "nothing says how many tokens the second batch has"
    assert final["nodes_per_record"] == 1
    costs = [
        record.asset_materialization.metadata.get("cost_usd")
        for record in world.instance.fetch_materializations(of("execution_poll_results"), limit=2).records
        if record.asset_materialization is not None
    ]
    assert [cost and cost.value for cost in costs] == [None, 6 * 0.01 / 1_000_000]


def of(asset: str) -> dg.AssetRecordsFilter:
    """Records of an asset of lines."""
    return dg.AssetRecordsFilter(asset_key=dg.AssetKey(["lines", asset]))


def newest(world: World, asset: str) -> dict[str, Any]:
    """What the newest materialization of an asset reported."""
    [record] = world.instance.fetch_materializations(of(asset), limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_an_execution_without_counts_is_no_bar() -> None:
    """As older releases reported it."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
        assert picture(outcomes_picture(instance, KEY, {}).value)[0].endswith("nothing yet")


def test_live_batches_by_age() -> None:
    """One is late; what is older than a day is in the last bar; the age of the oldest is a number."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    rows = [
        BatchSummary.model_validate(
            {
                "batch_id": f"b{hours}",
                "openai_batch_id": "batch_b",
                "batch_type": LINES.batch_type,
                "status": "PENDING",
                "submitted_at": now - timedelta(hours=hours),
            }
        )
        for hours in (0, 1, 1, 21, 30)
    ]
    found = on_time(rows, now)
    text, heights, seen = picture(found.table)
    assert text == "live batches by age:; 24 h or more: 0 on time, 1 late"
    assert [len(tall) for tall in heights.values()] == [2, 2]
    assert found.figures["oldest_hours"] == 30
    assert {"0 h", "24 h or more"} < set(seen)
    assert on_time([], now).table == ""


def test_ids_do_not_break_a_table() -> None:
    """They come from outside."""
    assert code("a|b`c\nd") == "`a\\|b'c d`"
    assert len(code("x" * 1000)) < 70
    assert code(" ") == ""
