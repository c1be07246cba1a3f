"""The code cache: hit by a second process, never an error when the disk is unkind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
from engine.kernels.norm.rows import normalize
normalize.load()
print(normalize.cache_hit)
"""
# Its machine code names functions of Numba's runtime, which the linker looks for when the next kernel is loaded.
WITH_RUNTIME = """
from engine.kernels.plain.copy import copy_rows as kernel
kernel.load()
from engine.kernels.norm.rows import normalize
normalize.load()
print(kernel.cache_hit)
"""


def _hit(cache: str, probe: str = PROBE) -> bool:
    environment = {**os.environ, "ENGINE_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip() == "True"


def test_a_second_process_finds_the_code(tmp_path: Path) -> None:
    assert not _hit(str(tmp_path))
    assert _hit(str(tmp_path))


def test_code_that_names_numbas_runtime_is_found_too(tmp_path: Path) -> None:
    assert not _hit(str(tmp_path), WITH_RUNTIME)
    assert _hit(str(tmp_path), WITH_RUNTIME)


def test_damaged_files_are_compiled_anew(tmp_path: Path) -> None:
    assert not _hit(str(tmp_path))
    for path in tmp_path.rglob("*.nb*"):
        path.write_bytes(path.read_bytes()[:100] + b"damaged")
    assert not _hit(str(tmp_path))


def test_without_a_folder_kernels_are_compiled() -> None:
    assert not _hit("off")


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    assert not _hit(str(blocked / "cache"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_no_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert not _hit(str(tmp_path))


def test_a_kernel_lends_its_inner_functions_to_nobody() -> None:
    """Weak functions of the same name, in kernels of two processes, would be taken for each other.

    What is left are the kernel and its C entry.
    """
    probe = (
        "from engine.kernels.amx_f32.rows import ROW\n"
        "text = ROW.kernels[64].assembly()\n"
        "print('.weak' in text, text.count('@function'))"
    )
    environment = {**os.environ, "ENGINE_CACHE_DIR": "off"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "2"]
