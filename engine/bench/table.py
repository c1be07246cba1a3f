"""Exported comparisons as one Markdown table, written between two marks of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import OptionError

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

Results = Mapping[str, Any]


def results_table(comparisons: Sequence[Results]) -> str:
    """Machine and versions, then a row per comparison: each engine's median ms (items per second).

    comparisons   contents of files that `python -m engine.bench -e A -e B -x FILE` wrote, on one machine

    The last column is the first engine's speed over the fastest other one's: above 1 it is faster.
    """
    engines = list(dict.fromkeys(e["engine_name"] for c in comparisons for e in c["engines"]))
    header = ["model", "shape", *engines, f"{engines[0]} against the best other"]
    rows = [header, ["---"] * len(header), *(_row(comparison, engines) for comparison in comparisons)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_description(comparisons[0])}\n\n{table}"


def _description(comparison: Results) -> str:
    machine = comparison["machine"]
    versions = ", ".join(
        f"{e['engine_name']} {e['engine_version']}"
        + (f" ({e['engine_detail']})" if e["engine_detail"] else "")
        for e in comparison["engines"]
    )
    return (
        f"{machine['cpu']}, {machine['isa_in_use']}, {comparison['engines'][0]['num_cores']} cores, "
        f"{machine['date']}; {versions}. Median ms per batch (items per second)."
    )


def _row(comparison: Results, engines: Sequence[str]) -> list[str]:
    by_name = {entry["engine_name"]: entry for entry in comparison["engines"]}
    first = comparison["engines"][0]
    model = first["orig_model_path"].removeprefix("synthetic:")
    shape = "x".join(map(str, next(iter(first["shapes"].values()))))
    cells = [_cell(by_name[name]) if name in by_name else "" for name in engines]
    medians = [entry["benchmark_result"]["median"] for entry in comparison["engines"]]
    against = f"{min(medians[1:]) / medians[0]:.2f}x" if len(medians) > 1 else ""
    return [model, shape, *cells, against]


def _cell(entry: Results) -> str:
    result = entry["benchmark_result"]
    return f"{result['median']:.2f} ({result['items_per_sec']:.1f})"


_BETWEEN = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)


def check_page(page: Path) -> str:
    """The text of a page that a table can be written in. Raises OptionError where the marks are missing, OSError."""
    text = page.read_text(encoding="utf-8")
    if not _BETWEEN.search(text):
        message = f"{page} has no lines {BEGIN} and {END} to write the table between."
        raise OptionError(message)
    return text


def write_table(page: Path, table: str) -> None:
    """Replace what stands between the marks of `page`. Raises as `check_page`."""
    page.write_text(_BETWEEN.sub(lambda _: f"{table}\n", check_page(page)), encoding="utf-8")
