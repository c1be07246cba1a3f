"""The canonical forms: how operators whose writing differs between versions and writers enter the graph."""

from __future__ import annotations

import sys

from engine.frontend.form import Form
from engine.graph.collect import collect

__all__ = ["FORMS"]

FORMS: dict[tuple[str, str], Form] = {
    (form.domain, name): form for form in collect(sys.modules[__name__], "FORMS", Form) for name in form.names
}
