"""What the flags ask for, layer by layer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.bench.arguments import check_export_path
from engine.bench.kernels.arguments import parse_arguments
from engine.bench.kernels.check import check
from engine.bench.kernels.layers import LAYERS, QUICK_LAYERS, ZEROS, Layer
from engine.bench.kernels.measure import LAYER_S, Figure, Trial, figures, subjects, trials
from engine.bench.kernels.plot import check_plotting, draw
from engine.bench.kernels.report import crossing_table, crossings, table
from engine.bench.machine import describe_machine
from engine.calibration.case import PATTERNS_OF
from engine.errors import OptionError
from engine.machine.topology import topology
from engine.runtime.teams import team_of

CHECK_S = 0.3


def run(arguments: Sequence[str] | None, program: str) -> int:
    """Measure and print; the exit code. Raises OptionError."""
    options = parse_arguments(arguments, program)
    check_export_path(options.export_path)
    if options.plot:
        check_plotting(Path(options.plot))
    layers = LAYERS if options.full else QUICK_LAYERS
    return check(options, layers, ZEROS, CHECK_S) if options.check else _measure(options)


def _note(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        sys.stderr.write(f"{text}\n")


def _work(options: argparse.Namespace, layers: Sequence[Layer]) -> Iterator[tuple[Layer, list[Trial]]]:
    """The trials of every layer and number of lanes, weights packed once a layer."""
    for operand in PATTERNS_OF:
        for layer in layers:
            packed = subjects(layer, operand, ZEROS)
            for lanes in layer.lanes:
                found = trials(packed, lanes, options.kernels or ())
                _note(options, f"{operand} {layer.model} {layer.m} x {layer.k}, {lanes} lanes")
                yield layer, found


def _core_counts(options: argparse.Namespace) -> list[int]:
    available = len(topology().cores)
    several = min(2, available) if options.num_cores is None else options.num_cores
    if not 1 <= several <= available:
        message = f"num_cores must be from 1 to {available}, the cores of this machine; got {several}."
        raise OptionError(message)
    return sorted({1, several})


def _measure(options: argparse.Namespace) -> int:
    teams = [team_of(count) for count in _core_counts(options)]
    found: list[Figure] = []
    for layer, work in _work(options, LAYERS if options.full else QUICK_LAYERS):
        for team in teams:
            found += figures(layer, work, team, LAYER_S)
    machine = describe_machine()
    sys.stdout.write(f"{machine['cpu']}, {machine['isa_in_use']}, {machine['date']}\n\n{table(found)}\n\n")
    sys.stdout.write(f"{crossing_table(crossings(found))}\n")
    if options.export_path:
        content = {
            "machine": machine,
            "figures": [figure.as_json() for figure in found],
            "crossings": [
                {name: getattr(crossing, name) for name in crossing.__slots__}
                for crossing in crossings(found)
            ],
        }
        Path(options.export_path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw(found, f"{machine['cpu']}, {machine['isa_in_use']}, one core", Path(options.plot))
    return 0
