"""The level amx on a CPU without it: tests of tiles run as machine code in processes whose tile instructions are trapped.

On a CPU that has AMX these tests run by themselves, and nothing here does.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pretence
import pytest

_TESTS = Path(__file__).resolve().parents[2]
_REASON = pretence.reason_against()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


@dataclass(frozen=True, slots=True)
class Run:
    """Test files of the tree, what of them, and how many tile instructions they execute at least."""

    files: tuple[str, ...]
    select: str
    least: int
    marks: str = "not slow"


_PRODUCTS = ("engine/kernels/test_tiles.py", "engine/kernels/test_products.py")
_MODELS = ("engine/amx/test_tile_models.py", "engine/amx/test_tile_tools.py")
RUNS = {
    "instructions": Run(("engine/amx/test_tile_instructions.py",), "", 500),
    "products": Run(_PRODUCTS, "amx or tile or bytes or bfloat16", 50_000),
    "models": Run(_MODELS, "", 100_000),
}
SLOW_RUNS = {
    "choices": Run(
        ("engine/api/test_whole_models.py", "engine/lowering/test_choice_of_rows.py"), "", 100_000, ""
    ),
    "permission": Run(("engine/jit/test_target.py",), "", 0, ""),
    "plans": Run(
        (
            "engine/lowering/test_tile_rows.py",
            "engine/lowering/test_tiled_attention.py",
            "engine/lowering/test_bf16_attention.py",
            "engine/lowering/test_stored_planes.py",
        ),
        "",
        10_000,
        "",
    ),
    "windows": Run(("engine/lowering/test_bf16_convolution.py",), "tiles or rounded or bits", 5_000, ""),
    "between forbidden pages": Run(("engine/kernels/test_guard_pages.py",), "amx", 10_000, ""),
    "large models": Run(("engine/amx/test_tile_models.py",), "large", 1_000_000, ""),
}


def _check(run: Run, report: Path) -> None:
    # A handler that pytest installs for illegal instructions would come before the one that executes them.
    options = ["-q", "-p", "no:faulthandler", "-p", "no:cacheprovider", "-k", run.select, "-m", run.marks]
    command = [sys.executable, "-m", "pytest", *options, *(str(_TESTS / file) for file in run.files)]
    done = subprocess.run(
        command, env=pretence.environment(report), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    # A family need not have a kernel for every number of lanes; nothing else is left out.
    left_out = re.findall("^SKIPPED.*", done.stdout, re.MULTILINE)
    assert all("has no kernel for" in line for line in left_out), left_out
    found = pretence.lines(report)
    assert sum(line["executed"] for line in found) >= run.least
    assert all(line["refused"] == 0 for line in found), "tiles are configured before they are used"
    assert all(line["configured"] == 0 for line in found), "every kernel releases its tiles"


@pytest.mark.parametrize("name", RUNS)
def test_on_trapped_tiles(name: str, tmp_path: Path) -> None:
    _check(RUNS[name], tmp_path / "report")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_RUNS)
def test_more_on_trapped_tiles(name: str, tmp_path: Path) -> None:
    _check(SLOW_RUNS[name], tmp_path / "report")


_PROGRAM = """
import ctypes, mmap, sys
place = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
place.write(bytes.fromhex(sys.argv[1]) + b"\\xc3")
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(place)))()
"""


def _executed(code: str, report: Path) -> tuple[int, list[dict[str, int]]]:
    command = [sys.executable, "-c", _PROGRAM, code]
    done = subprocess.run(command, env=pretence.environment(report), capture_output=True, check=False)
    return done.returncode, pretence.lines(report) if report.is_file() else []


def test_tiles_that_are_not_configured_are_refused_and_counted(tmp_path: Path) -> None:
    tilezero = "c4e27b49c0"
    assert _executed(tilezero, tmp_path / "report") == (0, [{"executed": 0, "refused": 1, "configured": 0}])


@pytest.mark.parametrize("code", ["0f0b", "c4e2794a00"], ids=["ud2", "no tile instruction"])
def test_what_is_no_tile_instruction_still_ends_the_process(code: str, tmp_path: Path) -> None:
    assert _executed(code, tmp_path / "report") == (-signal.SIGILL, [])


_MODEL = """
from engine import Engine
from engine.jit import active_level, tile_permission
engine = Engine("synthetic:minilm-l6?layers=1&form=qdq", 1, input_shapes=[[1, 33]])
engine.run(engine.generate_random_inputs(seed=1))
print(active_level().name, tile_permission())
"""


@pytest.mark.parametrize(
    ("variables", "answer", "executes"),
    [
        ({}, "amx granted", True),
        ({pretence.DENIAL: "1"}, "avx512_vnni denied", False),
        ({"ENGINE_ISA": "avx512_vnni"}, "avx512_vnni not asked", False),
    ],
    ids=["granted", "denied", "lower level"],
)
def test_tiles_are_used_only_where_the_system_grants_them(
    variables: dict[str, str], answer: str, executes: bool, tmp_path: Path
) -> None:
    environment = pretence.environment(tmp_path / "report", **variables)
    command = [sys.executable, "-c", _MODEL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = pretence.lines(tmp_path / "report")
    assert done.stdout.strip() == answer
    assert (line["executed"] > 0) is executes
    assert line["refused"] == 0
