"""Files of weights: read where they lie, their pages given back when plans have packed them.

Weights are read when a plan is made, never when it runs. A plan for new input shapes may be made much later:
`check_unchanged` refuses a file that somebody has written into meanwhile. One that was replaced or deleted, as
careful writers do, stays whole for who has it mapped.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import ModelError
from engine.graph import Array
from engine.machine.mapping import forget_pages, map_file

# Elsewhere nobody could replace a file that is mapped; and weights are stored little-endian.
_CAN_MAP = os.name == "posix" and sys.byteorder == "little"


@dataclass(frozen=True, eq=False, slots=True)
class WeightFile:
    """The bytes of a file, u8 [size], and how it looked when they were mapped; no stamp for a copy in memory."""

    path: Path
    content: Array
    stamp: tuple[int, ...] | None


def read_weights(path: Path) -> WeightFile:
    """The file, mapped where that can be. Raises ModelError when it cannot be read."""
    if _CAN_MAP:
        # Not every file system can map; reading says what is wrong with the others.
        with contextlib.suppress(OSError):
            stamp, content = _stamp(path), map_file(path)
            return WeightFile(path, np.zeros(0, np.uint8) if content is None else content, stamp)
    try:
        return WeightFile(path, np.fromfile(path, np.uint8), None)
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); check its permissions."
        raise ModelError(message) from error


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def check_unchanged(files: Sequence[WeightFile]) -> None:
    """Raises ModelError when one of the files was written to since it was mapped."""
    for file in files:
        if file.stamp is None:
            continue
        try:
            now = _stamp(file.path)
        except OSError:
            continue
        if now[:2] == file.stamp[:2] and now != file.stamp:
            message = (
                f"{file.path} was written to since the model was opened; open it again. Replace a model in use by "
                "a rename: its users then keep the old one."
            )
            raise ModelError(message)


def let_go(files: Sequence[WeightFile]) -> None:
    """The files' pages need not stay in memory; who reads them again gets them from the system's cache."""
    for file in files:
        if file.stamp is not None:
            forget_pages(file.content)
