"""How compiled functions are linked into kernels."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm


class PrivateFunctions:
    """A library of Numba's whose inlined functions have no names outside; comes before Numba's own class.

    Numba numbers functions in the order in which a process compiles them, and the linker takes the first of
    two weak functions of one name: a kernel read from the cache would lend its inner functions, with other
    constants in them, to a kernel compiled here.
    """

    _final_module: Any

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = llvm.Linkage.internal
        super()._optimize_final_module()  # type: ignore[misc]
