"""Powers of two against float64, by table and by polynomial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_runs import call

from engine.jit import Kernel, kernel
from engine.kernels.elementwise.panel import PANEL, panel_of
from engine.kernels.row import aligned
from engine.kernels.simd.arithmetic import splat_f32
from engine.kernels.simd.memory import load_f32, store_f32
from engine.kernels.simd.powers import FORMS, POWER_LOWEST, scaled_power

VECTORS = 4000


def _kernel(form: Callable[..., Any], name: str, factor: np.float32) -> Kernel:
    @kernel(name)
    def powers(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = panel_of(args)
        for at in range(64 * tile_begin, 64 * tile_end, 64):
            store_f32(form(load_f32(e.a + at), splat_f32(factor)), e.y + at)

    return powers


@pytest.mark.parametrize("factor", [1.0, 0.37, 5.2e-4, 2.0**-23, 16.0])
@pytest.mark.parametrize("number", range(len(FORMS)))
def test_powers_are_within_their_bound(number: int, factor: float) -> None:
    scale = np.float32(factor)
    source, result = aligned(16 * VECTORS, np.float32), aligned(16 * VECTORS, np.float32)
    source[:] = np.append(np.linspace(float(POWER_LOWEST) / factor, 0, source.size - 1), 0)
    np.maximum(source, np.float32(float(POWER_LOWEST) / factor), out=source)
    args = np.zeros(1, PANEL)
    args["a"], args["y"] = source.ctypes.data, result.ctypes.data
    call(_kernel(FORMS[number], f"test_powers_{number}_{factor}", scale), args, 0, VECTORS)
    exact = np.exp2(source.astype(np.float64) * float(scale))
    assert (np.abs(result - exact) <= 3 * np.spacing(exact.astype(np.float32))).all()
    assert result[-1] == 1


def test_one_of_the_forms_is_taken() -> None:
    assert scaled_power in FORMS
