"""Engines that need an interpreter of their own: a script each, which speaks as `engine.bench.worker` does.

The script may import nothing of this package: the other interpreter need not be able to. It gets its inputs as a file.
Such an engine is for comparisons only and never a dependency; an environment variable names the interpreter.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from engine.errors import OptionError


@dataclass(frozen=True, slots=True)
class ForeignEngine:
    """Where a foreign engine's interpreter is named, and the script that it runs."""

    variable: str
    script: str

    def command(self) -> list[str]:
        """The worker's command line. Raises OptionError when no interpreter is named, or it is not there."""
        interpreter = os.environ.get(self.variable, "")
        if shutil.which(interpreter) is None:
            found = f"names {interpreter!r}, which cannot be run" if interpreter else "is not set"
            message = f"{self.variable} {found}; set it to the Python that has this engine installed."
            raise OptionError(message)
        return [interpreter, str(Path(__file__).with_name(self.script))]


FOREIGN: Mapping[str, ForeignEngine] = MappingProxyType(
    {"deepsparse-1.8": ForeignEngine("DEEPSPARSE_PYTHON", "deepsparse_worker.py")}
)
