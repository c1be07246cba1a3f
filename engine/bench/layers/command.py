"""`python -m engine.bench MODEL --layers`: flags, and what is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.api.engine import Engine
from engine.bench.arguments import Parser, check_export_path, parse_input_shapes
from engine.bench.layers.measure import profile
from engine.bench.layers.report import as_json, table


def _parser(program: str) -> Parser:
    parser = Parser(f"{program} MODEL --layers", description=__doc__, allow_abbrev=False)
    parser.add_argument("model_path", metavar="MODEL")
    parser.add_argument("--layers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parser.add_argument("-wi", "--num_warmup_iterations", "--num-warmup-iterations", type=int, default=5)
    parser.add_argument("-bi", "--num_iterations", "--num-iterations", type=int, default=20)
    parser.add_argument("-ncores", "--num_cores", "--num-cores", type=int, default=None)
    parser.add_argument("-b", "--batch_size", "--batch-size", type=int, default=1)
    parser.add_argument("-i", "-shapes", "--input_shapes", "--input-shapes", default="", metavar="SHAPES")
    parser.add_argument("-q", "--quiet", action="store_true", help="no table")
    parser.add_argument(
        "-x", "--export_path", "--export-path", metavar="FILE", help="write the profile as JSON"
    )
    return parser


def run(arguments: Sequence[str] | None, program: str) -> int:
    """Measure and print; the exit code. Raises OptionError, and what Engine raises."""
    options = _parser(program).parse_args(arguments)
    check_export_path(options.export_path)
    shapes = parse_input_shapes(options.input_shapes)
    with Engine(options.model_path, options.batch_size, options.num_cores, input_shapes=shapes) as engine:
        inputs = engine.generate_random_inputs(seed=0)
        found = profile(engine, inputs, options.num_iterations, options.num_warmup_iterations)
    if not options.quiet:
        sys.stdout.write(f"{table(found)}\n")
    if options.export_path:
        text = json.dumps(as_json(found), indent=1)
        Path(options.export_path).write_text(f"{text}\n", encoding="utf-8")
    return 0
