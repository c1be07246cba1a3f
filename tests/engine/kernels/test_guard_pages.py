"""No product kernel reads or writes outside of its arrays: each runs between forbidden pages, in a process of its own."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import guard_pages
import pytest

import engine
from engine.kernels.simd.narrow import HAS_NARROWING
from engine.kernels.simd.pairs import HAS_PAIRS
from engine.lowering.choose import ALL_ROWS

_SCRIPT = Path(guard_pages.__file__)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(
        filter(None, (os.environ.get("PYTHONPATH"), str(Path(engine.__file__).parents[1])))
    )
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="mprotect of an anonymous map, as Linux has it"
)
@pytest.mark.parametrize("family", [row.family for row in ALL_ROWS])
def test_product_stays_within_its_arrays(family: str) -> None:
    done = _run(str(_SCRIPT), family)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-2000:]}"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="mprotect of an anonymous map, as Linux has it"
)
@pytest.mark.parametrize(
    "kind",
    [
        *("depthwise_flat", "depthwise_flat_rounded"),
        *("windows", "fused", "banded", "grouped", "expanded", "moves"),
        *("depthwise", "quantized_depthwise", "largest_quads"),
        *(["depthwise_quads"] if HAS_NARROWING else []),
    ],
)
def test_convolution_stays_within_its_arrays(kind: str) -> None:
    done = _run(str(_SCRIPT.with_name("convolution_pages.py")), kind)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-2000:]}"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="mprotect of an anonymous map, as Linux has it"
)
@pytest.mark.parametrize("kind", ["winograd", "pairs", *(["winograd_bf16"] if HAS_PAIRS else [])])
def test_fewer_products_and_pairs_stay_within_their_arrays(kind: str) -> None:
    done = _run(str(_SCRIPT.with_name("winograd_pages.py")), kind)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-2000:]}"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="mprotect of an anonymous map, as Linux has it"
)
@pytest.mark.parametrize("offset", [-1, mmap.PAGESIZE])
def test_the_fence_stops_a_stray_access(offset: int) -> None:
    stray = (
        f"import sys, ctypes; sys.path.insert(0, {str(_SCRIPT.parent)!r}); import numpy as np\n"
        "from guard_pages import Fenced\n"
        f"ctypes.string_at(Fenced(np.zeros(4096, np.uint8), at_end=True).address + {offset}, 1)"
    )
    assert _run("-c", stray).returncode < 0
