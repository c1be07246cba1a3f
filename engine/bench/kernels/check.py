"""`--check`: the pick of every layer and number of lanes; a check that was stopped can be taken up again.

What was found is written after each layer and number of lanes, so that no more than one of them is lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bench.kernels.choice import ALLOWED, Verdict, verdicts
from engine.bench.kernels.layers import Layer
from engine.bench.kernels.measure import subjects, trials
from engine.bench.machine import describe_machine
from engine.calibration.case import PATTERNS_OF
from engine.errors import OptionError
from engine.lowering.choose import measured_rates
from engine.machine.rates import rates_file
from engine.runtime.teams import team_of

Row = dict[str, Any]


def check(
    options: argparse.Namespace, layers: Sequence[Layer], zeros: Sequence[float], seconds: float
) -> int:
    """Judge all picks and print those that are too slow; 1 where there are any.

    seconds   of timing for each layer and number of lanes, where three rounds take less

    Raises OptionError when what should be resumed is no file of a check.
    """
    rates = measured_rates()
    _note(
        options,
        f"rates: {rates_file() if rates else 'built in; `python -m engine.warm --calibrate` measures'}",
    )
    rows = _resumed(Path(options.export_path)) if options.resume else []
    done = {(row["operand"], row["m"], row["k"], row["lanes"]) for row in rows}
    cells = [(operand, layer) for operand in PATTERNS_OF for layer in layers for _ in layer.lanes]
    started, place = time.perf_counter(), 0
    for operand in PATTERNS_OF:
        for layer in layers:
            left = [lanes for lanes in layer.lanes if (operand, layer.m, layer.k, lanes) not in done]
            place += len(layer.lanes) - len(left)
            packed = subjects(layer, operand, zeros) if left else []
            for lanes in left:
                place += 1
                work = trials(packed, lanes, options.kernels or (), precision="f32")
                found = [_row(v) for v in verdicts(work, team_of(1), rates, seconds)]
                rows += found
                worst = max((row["excess"] for row in found), default=1.0)
                where = f"{operand} {layer.model} {layer.m} x {layer.k}, {lanes} lanes"
                spent = time.perf_counter() - started
                _note(options, f"{place} of {len(cells)}, {spent:.0f} s: {where}: worst {worst:.2f}")
                _write(options, rows)
    _write(options, rows)
    return _summary(rows)


def _summary(rows: Sequence[Row]) -> int:
    bad = sorted((row for row in rows if row["excess"] > ALLOWED), key=lambda row: -row["excess"])
    worst = max((row["excess"] for row in rows), default=1.0)
    sys.stdout.write("".join(f"{row['text']}\n" for row in bad))
    sys.stdout.write(f"{len(rows)} choices, {len(bad)} over 10 % slower than the best; worst {worst:.2f}\n")
    return 1 if bad else 0


def _row(verdict: Verdict) -> Row:
    case = verdict.subject.case
    sizes = {name: getattr(case, name) for name in case.__slots__}
    judged = {"picked": verdict.picked, "excess": verdict.excess, "text": str(verdict)}
    return {**sizes, **judged, "measured": verdict.measured, "predicted": verdict.predicted}


def _resumed(path: Path) -> list[Row]:
    if not path.exists():
        return []
    try:
        rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["verdicts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"cannot resume from {path}: it is no file that --check has written ({error})."
        raise OptionError(message) from error
    return rows


def _write(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    if options.export_path:
        path = Path(options.export_path)
        unfinished = path.with_name(f"{path.name}.part")
        content = {"machine": describe_machine(), "verdicts": rows}
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def _note(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        sys.stderr.write(f"{text}\n")
