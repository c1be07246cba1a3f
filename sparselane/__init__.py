"""Every public name of engine, pipelines and serve in one place, for programs with an `engine` of their own.

Names are looked up when they are asked for: `import sparselane` brings in nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import Any

PACKAGES = ("engine", "pipelines", "serve")


def __getattr__(name: str) -> Any:
    if name in PACKAGES:
        return importlib.import_module(name)
    if not name.startswith("__") or name == "__version__":
        for package in PACKAGES:
            module = importlib.import_module(package)
            if name in module.__all__:
                return getattr(module, name)
    message = f"module 'sparselane' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({name for package in PACKAGES for name in importlib.import_module(package).__all__})
