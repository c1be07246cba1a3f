"""Modules called deepsparse, whose names are looked up in the tables when they are asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from engine.compat.names import ABSENT, MODULES
from engine.errors import SparselaneError

ROOT = "deepsparse"


class NotServedError(SparselaneError, ImportError):
    """A name of the predecessor that has no counterpart; the message names what to use instead."""


class NotServedNameError(SparselaneError, AttributeError):
    """The same, where a module is asked for the name: hasattr, pickle and the like expect an AttributeError."""


def advice(module: str, name: str) -> str:
    """What to do about a name that a module of ours does not have."""
    whole = f"{module}.{name}"
    if whole in ABSENT or name in ABSENT:
        return ABSENT.get(whole, ABSENT.get(name, ""))
    homes = [place for place, names in MODULES.items() if name in names]
    if homes:
        return f"it is in {homes[0]}"
    candidates = [
        *MODULES[module],
        *(place.rpartition(".")[2] for place in MODULES if place.startswith(f"{module}.")),
    ]
    near = get_close_matches(name, candidates, n=1, cutoff=0.7)
    if near:
        return f"did you mean {module}.{near[0]}?"
    return (
        f"sparselane has nothing under that name; dir({module}) lists what it has, and docs/moving.md says what "
        "takes the place of the rest"
    )


def _sentence(module: str, name: str) -> str:
    found = advice(module, name)
    return f"{module}.{name} is not served: {found}{'' if found.endswith('?') else '.'}"


class _Module(ModuleType):
    """A module of the tables. Names that it does not have raise NotServedNameError."""

    def __getattr__(self, name: str) -> Any:
        places = MODULES[self.__name__]
        if name in places:
            module, _, attribute = places[name].partition(":")
            value = getattr(importlib.import_module(module), attribute)
            setattr(self, name, value)
            return value
        raise NotServedNameError(_sentence(self.__name__, name), name=self.__name__)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *MODULES[self.__name__]})


class _Finder(MetaPathFinder, Loader):
    """Finds deepsparse and what lies below it, whether or not another package of that name is installed."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - importlib's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != ROOT and not fullname.startswith(f"{ROOT}."):
            return None
        if fullname in MODULES:
            return ModuleSpec(fullname, self, is_package=True)
        # `from deepsparse import NAME` comes here, too, for a name that the module does not have.
        parent, _, name = fullname.rpartition(".")
        raise NotServedError(_sentence(parent, name), name=fullname)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name, f"Names of {spec.name} that sparselane serves.")

    def exec_module(self, module: ModuleType) -> None:
        names: Mapping[str, str] = MODULES[module.__name__]
        vars(module)["__all__"] = sorted(name for name in names if not name.startswith("_"))


_FINDER = _Finder()


def install() -> None:
    """Let `import deepsparse` and what is imported from it lead to the engine, the pipelines and the server.

    May be called more than once. Raises NotServedError when a package of that name was imported before.
    """
    known = sys.modules.get(ROOT)
    if known is not None and not isinstance(known, _Module):
        message = (
            f"{ROOT} was imported before engine.compat.install(); call it first, or uninstall the package."
        )
        raise NotServedError(message, name=ROOT)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """Undo `install`: modules that were imported meanwhile are forgotten."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Module)]:
        del sys.modules[name]
