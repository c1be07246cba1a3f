"""What a pipeline was created with, and what it could have been: read off the constructors' signatures."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any


def known_keywords(cls: type) -> list[str]:
    """The keywords that the constructors of a class and of its bases name."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            named = (p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
            names.update(dict.fromkeys(p.name for p in named))
    return list(names)


def named_arguments(cls: type, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What a constructor was called with, by parameter name."""
    parameters = inspect.signature(cls).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return dict(zip(positional, args, strict=False)) | dict(keywords)
