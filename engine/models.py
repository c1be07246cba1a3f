"""`python -m engine.models`: register local folders for stubs, and list them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from engine.api.stubs import register, registered
from engine.errors import SparselaneError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="let a stub stand for a local folder or file")
    add.add_argument("stub")
    add.add_argument("place")
    commands.add_parser("list", help="print registered stubs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the process's exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "add":
            sys.stdout.write(f"registered in {register(options.stub, options.place)}\n")
        else:
            sys.stdout.writelines(f"{stub}  {place}\n" for stub, place in registered().items())
    except SparselaneError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
