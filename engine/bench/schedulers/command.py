"""`python -m engine.bench MODEL --schedulers`: flags, and what is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.bench.arguments import Parser, check_export_path, parse_input_shapes
from engine.bench.machine import describe_machine
from engine.bench.schedulers.measure import CALLERS, measure
from engine.bench.schedulers.report import as_json, text
from engine.errors import OptionError
from engine.machine.topology import topology


def _parser(program: str) -> Parser:
    parser = Parser(f"{program} MODEL --schedulers", description=__doc__, allow_abbrev=False)
    parser.add_argument("model_path", metavar="MODEL")
    parser.add_argument("--schedulers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parser.add_argument("-ncores", "--num_cores", "--num-cores", type=int, default=0)
    parser.add_argument("-b", "--batch_size", "--batch-size", type=int, default=1)
    parser.add_argument("-i", "-shapes", "--input_shapes", "--input-shapes", default="", metavar="SHAPES")
    parser.add_argument(
        "-t", "--time", type=float, default=1.0, metavar="SECONDS", help="of a load in a round"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="medians are taken of (default: 5)"
    )
    parser.add_argument(
        "--callers", type=int, nargs="+", default=CALLERS, metavar="N", help="at once (default: 1 2 16 64)"
    )
    parser.add_argument(
        "-x", "--export_path", "--export-path", metavar="FILE", help="write the figures as JSON"
    )
    return parser


def run(arguments: Sequence[str] | None, program: str) -> int:
    """Measure and print; the exit code. Raises OptionError, and what Engine raises."""
    options = _parser(program).parse_args(arguments)
    check_export_path(options.export_path)
    if min(options.callers) < 1:
        message = "--callers are at least 1 each."
        raise OptionError(message)
    cores = min(options.num_cores or topology().available, len(topology().cores))
    shared = {"batch_size": options.batch_size, "input_shapes": parse_input_shapes(options.input_shapes)}
    found = measure(options.model_path, shared, cores, options.time, options.rounds, options.callers)
    machine = describe_machine()
    sys.stdout.write(f"{text(found, machine)}\n")
    if options.export_path:
        content = json.dumps(as_json(found, machine), indent=1)
        Path(options.export_path).write_text(f"{content}\n", encoding="utf-8")
    return 0
