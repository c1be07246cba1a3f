"""What the command lines share: errors of one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from pydantic import ValidationError

from engine import OptionError, SparselaneError


class Parser(argparse.ArgumentParser):
    """Raises OptionError instead of leaving the process; words are not guessed from their beginnings."""

    def __init__(self, program: str, about: str | None) -> None:
        super().__init__(prog=program, description=about, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        found = f"{message}. See {self.prog} --help."
        raise OptionError(found)


def exit_code(command: Callable[[], None]) -> int:
    """Run the command; 0, or 2 and a line on standard error when something that was asked for cannot be had."""
    try:
        command()
    except (SparselaneError, TypeError, ValueError, OSError, RuntimeError) as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        return 2
    return 0


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks; of a request that does not fit, the fields and what they lack."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, found['loc'])) or error.title}: {found['msg']}" for found in error.errors()
        )
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
