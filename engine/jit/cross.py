"""Code generation for a machine that is not here: the same modules and passes, assembly as the end of it.

Python -> Numba -> LLVM IR -> LLVM's passes for the target's triple, CPU and features -> text
                                                                    (no memory, no symbols, no execution)
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import AOTCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from engine.jit.library import PrivateFunctions


class _AssemblyLibrary(PrivateFunctions, AOTCodeLibrary):  # type: ignore[misc]
    def get_asm_str(self) -> str:
        """The text, after the assembler of the target has accepted it."""
        with global_compiler_lock:
            self._ensure_finalized()
        machine = self._codegen.machine
        machine.emit_object(self._final_module)
        return str(machine.emit_assembly(self._final_module))


class AssemblyCodegen(JITCPUCodegen):  # type: ignore[misc]
    """Numba's code generation with another target's machine and no engine to run anything."""

    _library_class = _AssemblyLibrary

    def __init__(self, triple: str, cpu: str, features: str) -> None:
        self._triple, self._cpu, self._tm_features = triple, cpu, features
        # Numba's runtime runs some code of its own as it starts; that has to be this machine's.
        rtsys.initialize(cpu_target.target_context)
        super().__init__("sparselane.assembly")

    @property
    def machine(self) -> Any:
        """The LLVM target machine."""
        return self._tm

    def _init(self, _module: Any) -> None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple(self._triple)
        self._tm = target.create_target_machine(
            cpu=self._cpu, features=self._tm_features, opt=3, reloc="static", codemodel="default"
        )
        self._target_data = self._tm.target_data
        self._data_layout = str(self._target_data)
        self._loopvect, self._opt_level = False, 0

    def _create_empty_module(self, name: str) -> Any:
        module = super()._create_empty_module(name)
        module.triple = self._triple
        return module

    def _add_module(self, _module: Any) -> None:
        """Nothing keeps finished modules but their libraries."""
