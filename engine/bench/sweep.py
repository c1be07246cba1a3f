"""`--sweep`: throughput and latency over numbers of streams and batch sizes, as a table and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.bench.job import Job
from engine.bench.timing import Summary

BATCH_SIZES = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Point:
    """One load: requests at once, items a request, and what came of it; milliseconds per request."""

    streams: int
    batch_size: int
    items_per_second: float
    median: float
    p99: float
    p999: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def point(job: Job, summary: Summary) -> Point:
    """The figures of one load."""
    tail = summary.percentiles
    return Point(
        job.streams, job.batch_size, summary.items_per_second, summary.median, tail["99.0%"], tail["99.9%"]
    )


def stream_counts(cores: int) -> list[int]:
    """1, 2, 4 ... and the number of cores."""
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    return sorted({*counts, cores})


def loads(job: Job, batch_sizes: Iterable[int] = BATCH_SIZES) -> Iterator[Job]:
    """The job under every load. One stream is the single-stream scheduler, several are the scenario's, or async."""
    several = job.scenario if job.scenario != "sync" else "async"
    for batch in batch_sizes:
        shapes = tuple((batch, *shape[1:]) if shape else shape for shape in job.shapes)
        for streams in stream_counts(job.cores):
            scenario = several if streams > 1 else "sync"
            yield replace(job, batch_size=batch, shapes=shapes, streams=streams, scenario=scenario)


def table(points: Sequence[Point]) -> str:
    """One row a load; `*` marks loads that no other beats in both throughput and median."""
    rows = [("streams", "batch", "items/s", "median ms", "p99 ms", "p99.9 ms", "")]
    best = frontier(points)
    for p in points:
        numbers = f"{p.items_per_second:.1f}", f"{p.median:.3f}", f"{p.p99:.3f}", f"{p.p999:.3f}"
        rows.append((str(p.streams), str(p.batch_size), *numbers, "*" if p in best else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """Loads that no other load beats in both throughput and median latency."""
    return [
        p
        for p in points
        if not any(q.items_per_second > p.items_per_second and q.median < p.median for q in points)
    ]


def draw(points: Sequence[Point], title: str, path: Path) -> None:
    """Write the picture: throughput against median latency, a line a number of streams, a point a batch size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    sheet, panel = pyplot.subplots(figsize=(8, 6))
    for streams in sorted({p.streams for p in points}):
        line = [p for p in points if p.streams == streams]
        medians, rates = [p.median for p in line], [p.items_per_second for p in line]
        name = "1 stream" if streams == 1 else f"{streams} streams"
        (drawn,) = panel.plot(medians, rates, marker="o", label=name)
        panel.hlines(rates, medians, [p.p99 for p in line], colors=drawn.get_color(), alpha=0.35, linewidth=3)
        for p in line:
            place = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center"}
            panel.annotate(f"batch {p.batch_size}", (p.median, p.items_per_second), **place)
    panel.set_xscale("log")
    panel.set_ylim(bottom=0, top=1.12 * max(p.items_per_second for p in points))
    panel.margins(x=0.08)
    for axis in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
        axis(ticker.FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "1235" else ""))
    panel.set_xlabel("median latency of a request, ms (bars: to the 99th percentile)")
    panel.set_ylabel("items per second")
    panel.set_title(title)
    panel.grid(visible=True, which="both", alpha=0.3)
    panel.legend(loc="lower right")
    sheet.tight_layout()
    sheet.savefig(path, dpi=120)
    pyplot.close(sheet)
