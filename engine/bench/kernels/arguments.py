"""Flags of `python -m engine.bench --kernels`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from engine.errors import OptionError
from engine.lowering.choose import PRODUCT_ROWS

_DESCRIPTION = """Time the product kernels on layers of BERT, ResNet-50 and MobileNet: real operations a second,
share of the peak of the same turns, speed-up over the best dense kernel, on one core and on several."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process, so that there is one place that prints errors."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


def parse_arguments(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    """Read the command line of the command by this name. Raises OptionError."""
    parser = _Parser(f"{program} --kernels", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument(
        "--kernels", nargs="*", metavar="FAMILY", help="only these beside the dense ones (default: all)"
    )
    parser.add_argument("--full", action="store_true", help="all layers and lanes; takes long")
    parser.add_argument(
        "--check",
        action="store_true",
        help="only ask whether the chosen kernel is the fastest; exit code 1 where it is over 10 %% slower",
    )
    parser.add_argument(
        "-ncores", "--num_cores", "--num-cores", type=int, metavar="N", help="cores beside one (default: 2)"
    )
    parser.add_argument(
        "-x", "--export_path", "--export-path", metavar="FILE", help="write the figures as JSON"
    )
    parser.add_argument("--plot", metavar="FILE.png", help="draw the speed-up against the share of zeros")
    parser.add_argument(
        "--resume", action="store_true", help="with --check: go on after what the exported file holds already"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="results only")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parsed = parser.parse_args(arguments)
    if parsed.resume and not (parsed.check and parsed.export_path):
        message = "--resume goes with --check and -x FILE, the file that a check before it wrote."
        raise OptionError(message)
    known = [row.family for row in PRODUCT_ROWS]
    for family in parsed.kernels or ():
        if family not in known:
            message = f"there is no kernel family {family!r} here; use {', '.join(known)}."
            raise OptionError(message)
    return parsed
