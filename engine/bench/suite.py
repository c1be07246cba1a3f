"""The published table: `python -m engine.bench.suite` measures every row and writes BENCHMARKS.md.

Rows already measured (their file is in the folder of results) are kept: delete a file to measure it again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bench.__main__ import main as bench
from engine.bench.foreign import FOREIGN
from engine.bench.table import check_page, results_table, write_table
from engine.errors import OptionError, first_line

ENGINES = ("engine", "onnxruntime", "openvino", "openvino-f32")


@dataclass(frozen=True, slots=True)
class Row:
    """A synthetic model by name, and the shape of its inputs, batch first."""

    model: str
    shape: tuple[int, ...]

    @property
    def file_name(self) -> str:
        """Where its figures are kept."""
        return f"{self.model}-{'x'.join(map(str, self.shape))}.json"


ROWS = (
    *(
        Row(f"bert-base-{form}", (1, 128))
        for form in ("dense-f32", "p90-f32", "dense-qdq", "p90-qdq", "dense-int", "p90-int", "p90b4-int")
    ),
    *(Row("bert-base-p90-int", (1, tokens)) for tokens in (16, 32, 64)),
    *(Row("bert-base-p90-int", shape) for shape in ((16, 128), (16, 384))),
    Row("minilm-l6-p80-int", (1, 128)),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns 2 when a row could not be measured."""
    parser = argparse.ArgumentParser("python -m engine.bench.suite", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("build/bench"), help="folder of exported files")
    parser.add_argument("--page", type=Path, default=Path("BENCHMARKS.md"), help="page with the table")
    parser.add_argument("-t", "--time", default="10", help="seconds per engine and row")
    options = parser.parse_args(arguments)
    try:
        # Before an hour of measuring, not after it.
        check_page(options.page)
        options.results.mkdir(parents=True, exist_ok=True)
        for row in ROWS:
            file = options.results / row.file_name
            if not file.exists() and bench(_arguments(row, file, options.time)):
                return 2
        table = results_table([_results(options.results / row.file_name) for row in ROWS])
        write_table(options.page, table)
    except (OSError, OptionError) as error:
        sys.stderr.write(f"error: {error if isinstance(error, OptionError) else first_line(error)}\n")
        return 2
    sys.stdout.write(f"{table}\n")
    return 0


def _results(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{file} holds no results; delete it to measure this row again."
        raise OptionError(message) from error


def _foreign() -> list[str]:
    """Engines with an interpreter of their own that this machine has."""
    return [name for name, engine in FOREIGN.items() if os.environ.get(engine.variable)]


def _arguments(row: Row, file: Path, seconds: str) -> list[str]:
    shape = "[" + ",".join(map(str, row.shape)) + "]"
    engines = [word for engine in (*ENGINES, *_foreign()) for word in ("-e", engine)]
    return [f"synthetic:{row.model}", "-i", shape, "-t", seconds, "-x", str(file), "--validate", *engines]


if __name__ == "__main__":
    sys.exit(main())
