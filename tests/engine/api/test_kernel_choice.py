"""The choice of kernels as users see it: explain, the option, the variable, and what a second engine packs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import Engine, OptionError, explain
from engine.lowering.choose import PRODUCT_ROWS
from engine.plan import packed_cache

MODEL = "synthetic:minilm-l6?layers=1&sparsity=0.9"
SHAPES = [[1, 16]]


def test_explain_prints_the_pick_and_its_rivals_with_predicted_times() -> None:
    found = explain(MODEL, input_shapes=SHAPES)
    linear = [layer for layer in found.layers if layer.op == "linear"]
    assert linear
    for layer in linear:
        assert layer.predicted_ns is not None
        assert layer.runners_up
        assert min(layer.predicted_ns, *(ns for _, ns in layer.runners_up)) > 0
    (first, ns), *_ = linear[0].runners_up
    shown = f"{ns / 1e6:.2f} ms" if ns >= 1e6 else f"{ns / 1e3:.1f} us"
    assert f"; then {first} {shown}" in found.text
    assert "cheapest, " in found.text


FORCED = [row.family for row in PRODUCT_ROWS if row.operand == "f32" and row.precision == "f32"]


@pytest.mark.parametrize("family", FORCED)
def test_a_family_can_be_forced_by_option_and_by_variable(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in PRODUCT_ROWS if row.family == family)
    shapes = [[1, 16]] if row.most_lanes is None else [[1, row.most_lanes]]
    by_option = explain(MODEL, kernel=family, input_shapes=shapes)
    monkeypatch.setenv("ENGINE_KERNEL", family)
    by_variable = explain(MODEL, input_shapes=shapes)
    for found in (by_option, by_variable):
        forced = [layer for layer in found.layers if layer.reason == "forced"]
        assert forced
        assert all(layer.kernel.startswith(family) for layer in forced)
    monkeypatch.setenv("ENGINE_KERNEL", "dense_f32")
    wins = explain(MODEL, kernel=family, input_shapes=shapes)
    assert [layer.kernel for layer in wins.layers] == [layer.kernel for layer in by_option.layers]


def test_a_family_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OptionError, match="kernel=warp_drive names no family"):
        Engine(MODEL, kernel="warp_drive")


def test_a_second_engine_packs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_cache, "cache_directory", lambda: tmp_path)
    first = Engine(MODEL, input_shapes=SHAPES)
    inputs = first.generate_random_inputs(0)
    expected = first.run(inputs)
    kept = sorted((tmp_path / "packed").glob("*.weights"))
    assert kept

    def never(*_: object) -> None:
        pytest.fail("a weight was packed, or written, again")

    monkeypatch.setattr(packed_cache.PackedCache, "keep", never)
    second = Engine(MODEL, input_shapes=SHAPES)
    assert all(np.array_equal(a, b) for a, b in zip(second.run(inputs), expected, strict=True))
    assert sorted((tmp_path / "packed").glob("*.weights")) == kept


def test_warm_calibrates_when_asked_to() -> None:
    """Only the command line: what calibrating does has tests of its own."""
    command = [sys.executable, "-m", "engine.warm", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--calibrate" in done.stdout
