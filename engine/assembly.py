"""`ENGINE_COMPILE_ONLY=<level> python -m engine.assembly FOLDER [FAMILY ...]`: write every kernel's assembly.

The level need not be this machine's: nothing is run. The level's name may be followed by features of LLVM,
as in `neon+i8mm`. One file a kernel, `<name>.s`, after the assembler of that machine has accepted it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.jit.target import compile_only_level
from engine.warm import all_kernels


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.assembly", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("families", nargs="*", help="only kernels whose names begin with one of these")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; returns the process's exit code."""
    options = _parser().parse_args(arguments)
    if compile_only_level() is None:
        sys.stderr.write("Set ENGINE_COMPILE_ONLY to the level whose assembly is wanted.\n")
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, kernel in sorted(all_kernels().items()):
        if not options.families or name.startswith(tuple(options.families)):
            (options.folder / f"{name}.s").write_text(kernel.assembly())
            sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
