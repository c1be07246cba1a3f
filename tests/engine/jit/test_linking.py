"""Functions that kernels share are linked as they were written: nothing has been generated from them before."""

from __future__ import annotations

from typing import Any

import pytest
from numba.core import types

from engine.jit import inner
from engine.kernels.products.vector_strips import vector_kernel
from engine.kernels.simd.memory import load_f32, store_f32


def _library(dispatcher: Any) -> Any:
    """The one library of a compiled inner function."""
    (result,) = dispatcher.overloads.values()
    return result.library


def test_an_inner_function_never_becomes_machine_code() -> None:
    @inner
    def copy(lane: int, source: int, target: int) -> None:
        for i in range(lane):
            store_f32(load_f32(source + 256 * lane + 64 * i), target + 256 * lane + 64 * i)

    copy.compile((types.int64,) * 3)  # type: ignore[attr-defined]
    library = _library(copy)
    assert library.is_part
    # The code generator's mark: addresses of integers made into offsets from a pointer that may be null.
    assert "sunkaddr" not in library.get_llvm_str()
    assert library._compiled_object is None


@pytest.mark.parametrize("kind", ["f32", "s8u8"])
def test_no_kernel_of_few_lanes_accesses_a_null_pointer(kind: str) -> None:
    # Its first lane was once lost so: an offset of 0 times the lane became the pointer, the address the offset.
    text = vector_kernel("few_lanes", kind)._uncompiled()._compile_uncached().library.get_llvm_str()
    # What the code generator has made of the kernel itself is not optimised again.
    assert "getelementptr i8, ptr null" not in text
