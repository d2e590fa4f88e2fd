"""The results of `make bench` as charts beside the JSON that they are of, and as tables in `docs/performance.md`.

The page has a place for each: what stands between `<!-- merges -->` and `<!-- /merges -->`, say, is written again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.marks import marks
from benchmarks.page import filled, table

NAMES = {
    "ours": "ours",
    "ours_chroma": "ours, Chroma writing",
    "replaced": "the replaced design",
    "script": "a user's script",
    "floor": "the floor (hnswlib)",
    "graph": "our graph alone",
    "parse": "parsing the outputs",
}
COLOURS = {
    "ours": "#2563eb",
    "ours_chroma": "#93b4f5",
    "replaced": "#b91c1c",
    "script": "#d97706",
    "floor": "#6b7280",
    "graph": "#0f766e",
}

POLLING_WORKS = {
    "parse": "parsing alone",
    "poll": "polling, emulated bucket",
    "poll_into_folder": "polling, a folder for the bucket",
    "ask": "OpenAI's SDK alone: ask, download",
    "download": "a bare download",
}


def merges(figures: dict[str, Any]) -> Iterator[str]:
    """Cost by way, and the ratios."""
    for result in figures["results"]:
        yield f"### {result['count']:,} × {result['dimensions']}, writer {result['writer']}"
        rows = [
            [
                NAMES[way],
                f"{one['wall']:.2f}",
                f"{one['cpu']:.2f}",
                f"{one['written'] / 2**20:,.0f}",
                f"{one['peak_mb']:,.0f} ({one['peak_anonymous_mb']:,.0f})",
                result["runs"][way][0].get("recall", ""),
            ]
            for way, one in result["medians"].items()
        ]
        yield table(["way", "wall s", "CPU s", "MB written", "peak MB (without file pages)", "recall@10"], rows)
        yield table(["ratio", "value"], list(result["ratios"].items()))


def incremental(figures: dict[str, Any]) -> Iterator[str]:
    """Adding to a base."""
    rows = [
        [
            f"{one['base']:,}, {one['layout']}",
            f"{one['base_mb']:,.0f}",
            f"{one['base_seconds']:.1f}",
            f"{one['chroma']['wall']:.2f} ({one['chroma']['cpu']:.2f})",
            f"{one['cached']['wall']:.2f} ({one['cached']['cpu']:.2f})",
            f"{one['copy']['wall']:.2f} ({one['copy']['cpu']:.2f})",
            f"{one['cold']['wall']:.2f}",
            f"{one['cached']['mb_down']:.1f}",
            f"{one['cold']['mb_down']:.1f}",
            f"{one['cached']['mb_up']:.1f}",
        ]
        for one in figures["results"]
    ]
    added = f"+{figures['added']:,}"
    head = ["base", "its MB", "its first merge s", f"{added} by Chroma s (CPU)", f"{added} directly s (CPU)"]
    head += ["the base copied and hashed s (CPU)", "directly, without the cache s"]
    yield table([*head, "MB down, cached", "MB down, cold", "MB up"], rows)


def growth(figures: dict[str, Any]) -> Iterator[str]:
    """Cost by size."""
    rows = [
        [
            f"{one['count']:,}",
            one["dimensions"],
            f"{one['medians']['wall']:.2f}",
            f"{one['medians']['cpu']:.2f}",
            f"{1e6 * one['medians']['cpu'] / one['count']:,.0f}",
            f"{one['medians']['peak_mb']:,.0f} ({one['medians']['peak_anonymous_mb']:,.0f})",
            f"{one['medians']['index_mb']:,.0f}",
        ]
        for one in figures["results"]
    ]
    head = [
        "embeddings",
        "dimensions",
        "wall s",
        "CPU s",
        "CPU µs each",
        "peak MB (without file pages)",
        "index MB",
    ]
    yield table(head, rows)


def polling(figures: dict[str, Any]) -> Iterator[str]:
    """Polling against parsing."""
    rows = []
    for encoding in figures["asked"]["encodings"]:
        one = figures[encoding]
        for work, name in POLLING_WORKS.items():
            done = one[work]
            busy = done.get("busy", {})
            rows.append(
                [
                    f"{encoding}, {one['bytes'] / 1e6:,.0f} MB",
                    name,
                    f"{done['wall_seconds']:.2f}",
                    f"{done['cpu_seconds']:.2f}",
                    f"{done['lines_per_second']:,.0f}",
                    f"{done['ratio_wall']:.2f}" if "ratio_wall" in done else "",
                    f"{done['ratio_cpu']:.2f}" if "ratio_cpu" in done else "",
                    ", ".join(f"{share:.2f} {process.replace('_', ' ')}" for process, share in busy.items()),
                    f"{done['peak_megabytes']:,.0f}",
                ]
            )
    asked = figures["asked"]
    yield f"{asked['batches']} batches of {asked['lines']:,}:"
    head = [
        "encoding",
        "work",
        "wall s",
        "CPU s",
        "lines/s",
        "ratio wall",
        "ratio CPU",
        "processors busy",
        "peak MB",
    ]
    yield table(head, rows)


def orchestration(figures: Any) -> Iterator[str]:
    """Overhead by stage."""
    cells = figures["cells"] if isinstance(figures, dict) else figures
    stages = list(dict.fromkeys(name for cell in reversed(cells) for name in cell["stages"]))
    rows: list[list[object]] = [
        [name, *(f"{cell['stages'].get(name, 0.0):.2f}" for cell in cells)] for name in stages
    ]
    rows += [
        [f"**{name.replace('_', ' ')}**", *(f"{cell[name]:.2f}" for cell in cells)]
        for name in ("overhead", "overhead_of_servers", "work", "wall", "load_before", "slowdown_before")
    ]
    yield table(["stage, seconds", *(f"{cell['executor']} {cell['batches']}" for cell in cells)], rows)


def planning(figures: Any) -> Iterator[str]:
    """Ticks."""
    ticks = figures["ticks"] if isinstance(figures, dict) else figures
    flat = [{k: v for k, v in tick.items() if k != "calls"} | tick["calls"] for tick in ticks]
    names = [name for name in dict.fromkeys(n for tick in flat for n in tick) if name not in ("rows", "tick")]
    rows = [[name.replace("_", " "), *(tick.get(name, 0) for tick in flat)] for name in names]
    yield table(["", *(f"{tick['rows']:,} rows, {tick['tick']} tick" for tick in ticks)], rows)


def held(figures: dict[str, Any]) -> Iterator[str]:
    """Every mark."""
    rows = [
        [mark.name, f"{mark.figure:g}", f"{mark.sign} {mark.bound:g}", "yes" if mark.holds else "**no**"]
        for mark in marks(figures)
    ]
    yield table(["what", "measured", "mark", "held"], rows)


def draw_merges(figures: dict[str, Any], path: Path) -> None:
    """Wall and processor seconds of every way, one panel a size."""
    import matplotlib.pyplot as plt

    ways = [way for way in NAMES if way != "parse"]
    figure, axes = plt.subplots(1, len(figures["results"]), figsize=(11, 3.6), squeeze=False)
    for axis, result in zip(axes[0], figures["results"], strict=True):
        for place, way in enumerate(reversed(ways)):
            one = result["medians"][way]
            axis.barh(place + 0.2, one["wall"], 0.38, color=COLOURS[way])
            axis.barh(place - 0.2, one["cpu"], 0.38, color=COLOURS[way], alpha=0.45)
            axis.text(one["wall"], place + 0.2, f" {one['wall']:.1f} s", va="center", fontsize=8)
            axis.text(one["cpu"], place - 0.2, f" {one['cpu']:.1f} s of processors", va="center", fontsize=8)
        axis.set_yticks(range(len(ways)), [NAMES[way] for way in reversed(ways)])
        axis.set_xlim(0, 1.35 * max(max(one["wall"], one["cpu"]) for one in result["medians"].values()))
        axis.set_title(f"{result['count']:,} embeddings of {result['dimensions']} dimensions", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("seconds, median")
    axes[0][-1].tick_params(labelleft=len(figures["results"]) == 1)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_growth(figures: dict[str, Any], path: Path) -> None:
    """Processor time of each embedding, and peak memory beside the index's size, by the number of embeddings."""
    import matplotlib.pyplot as plt

    figure, (time_axis, memory_axis) = plt.subplots(1, 2, figsize=(11, 3.8))
    for dimensions, colour in ((1536, "#2563eb"), (384, "#d97706")):
        series = [one for one in figures["results"] if one["dimensions"] == dimensions]
        counts = [one["count"] for one in series]
        each = [1e6 * one["medians"]["cpu"] / one["count"] for one in series]
        time_axis.plot(counts, each, "o-", color=colour, label=f"{dimensions} dimensions")
        peaks = [one["medians"]["peak_anonymous_mb"] for one in series]
        memory_axis.plot(counts, peaks, "o-", color=colour, label=f"peak, {dimensions} dimensions")
        sizes = [one["medians"]["index_mb"] for one in series]
        memory_axis.plot(counts, sizes, "o:", color=colour, label=f"the index, {dimensions} dimensions")
    time_axis.set_ylabel("processor time each, µs")
    memory_axis.set_ylabel("MB, without file pages")
    for axis in (time_axis, memory_axis):
        axis.set_xscale("log")
        axis.set_xticks([3_000, 9_000, 27_000, 81_000], ["3k", "9k", "27k", "81k"])
        axis.minorticks_off()
        axis.set_xlabel("embeddings")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


TABLES: dict[str, Callable[[Any], Iterator[str]]] = {
    "merges": merges,
    "incremental": incremental,
    "incremental-split": incremental,
    "growth": growth,
    "polling": polling,
    "polling-large": polling,
    "orchestration": orchestration,
    "planning": planning,
}
CHARTS: dict[str, Callable[[Any, Path], None]] = {"merges": draw_merges, "growth": draw_growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results lie; the page lies beside it, with .md")
    folder: Path = parser.parse_args().folder
    mpl.use("Agg")
    figures = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    page = folder.with_suffix(".md")
    text = page.read_text()
    for name, write in TABLES.items():
        if name in figures:
            text = filled(text, name, "\n\n".join(write(figures[name])))
        if name in figures and name in CHARTS:
            CHARTS[name](figures[name], folder / f"{name}.png")
    page.write_text(filled(text, "marks", "\n\n".join(held(figures))))


if __name__ == "__main__":
    main()
