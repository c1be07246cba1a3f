"""Finding the rows of a folder, so that a new row is one new file and no central list."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, TypeVar

from engine.errors import InternalError

if TYPE_CHECKING:
    from types import ModuleType

Row = TypeVar("Row")


def collect(package: ModuleType, constant: str, kind: type[Row]) -> tuple[Row, ...]:
    """Import the modules of `package` in name order and join their tuples called `constant`.

    Modules whose name begins with an underscore hold no rows.
    Raises InternalError naming the module that has no such tuple, or one of another type.
    """
    rows: list[Row] = []
    for info in iter_modules(package.__path__):
        if info.name.startswith("_"):
            continue
        module = import_module(f"{package.__name__}.{info.name}")
        found = getattr(module, constant, None)
        if not isinstance(found, tuple) or not all(isinstance(row, kind) for row in found):
            message = (
                f"{module.__name__} has no tuple {constant} of {kind.__name__}; add one, or move the module."
            )
            raise InternalError(message)
        rows += found
    return tuple(rows)
