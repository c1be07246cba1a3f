"""How the command tells what went wrong: one line, or with it the traceback."""

from __future__ import annotations

import sys
import traceback

from engine import SparselaneError

USAGE_ERROR = 2
# What options, configurations and models can cause; anything else is a mistake of ours and shows its traceback.
EXPECTED = (SparselaneError, TypeError, ValueError, OSError)


def tell(error: BaseException, *, debug: bool) -> None:
    """Write an error to stderr as one line, after its traceback when debugging."""
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
