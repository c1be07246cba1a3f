"""What the command lines share: errors of one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from pydantic import ValidationError

from engine import OptionError


class Parser(argparse.ArgumentParser):
    """Raises OptionError instead of leaving the process; words are not guessed from their beginnings."""

    def __init__(self, program: str, about: str | None) -> None:
        super().__init__(prog=program, description=about, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        found = f"{message}. See {self.prog} --help."
        raise OptionError(found)


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks; of a request that does not fit, the fields and what they lack."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, found['loc'])) or error.title}: {found['msg']}" for found in error.errors()
        )
    return " ".join(str(error).split()) or type(error).__name__
