"""How compiled functions are linked into kernels."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm

# Numba's names of what others than compiled code call: a C function, or one for the interpreter.
_ENTRIES = ("cfunc.", "cpython.")


class PrivateFunctions:
    """A library of Numba's whose inlined functions have no names outside; comes before Numba's own class.

    Numba numbers functions in the order in which a process compiles them, and the linker takes the first of
    two weak functions of one name: a kernel read from the cache would lend its inner functions, with other
    constants in them, to a kernel compiled here.

    A library without an entry is a part of others. It is optimised there, once, and never becomes machine
    code of its own, which besides taking time would be wrong: the code generator rewrites the module it is
    given (CodeGenPrepare), an address a + b of integers into "b bytes beyond pointer a". Optimised again
    within a kernel, where a may turn out to be 0, that is an access through a null pointer, and LLVM deletes it.

    Inner functions are inlined before anything is optimised. Left to itself LLVM optimises callees first: it makes
    copies of their loops for every branch on an argument, and finds only then that a kernel's argument is a constant.
    """

    _final_module: Any

    @property
    def is_part(self) -> bool:
        """Whether only compiled code calls what is in the library. One from the cache has no functions to look at."""
        defined = [function.name for function in self._final_module.functions if not function.is_declaration]
        return bool(defined) and not any(name.startswith(_ENTRIES) for name in defined)

    def _optimize_final_module(self) -> None:
        if self.is_part:
            return
        for function in self._final_module.functions:
            if function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = llvm.Linkage.internal
                function.add_function_attribute("alwaysinline")
        super()._optimize_final_module()  # type: ignore[misc]

    def _finalize_final_module(self) -> None:
        if self.is_part:
            self._finalized = True
        else:
            super()._finalize_final_module()  # type: ignore[misc]
