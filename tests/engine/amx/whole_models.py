"""Outputs of small whole models: `python whole_models.py FILE` writes those of this process's level to FILE.npz."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Engine, explain

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Whole:
    """One model over one shape.

    exact      outputs are the same to the bit at every level: all products are of whole numbers
    families   of product kernels that the level amx must pick among others
    """

    name: str
    model: str
    shape: tuple[int, int]
    exact: bool
    families: frozenset[str]
    precision: str = "f32"


_INT, _F32 = "synthetic:minilm-l6?layers=2&form=int&sparsity=0.8", "synthetic:minilm-l6?layers=1"
MODELS = (
    Whole("int, few lanes", _INT, (1, 16), True, frozenset({"amx_int8_compressed"})),
    Whole("int, many lanes", _INT, (2, 50), True, frozenset({"amx_int8_compressed"})),
    Whole("int, padded", _INT, (2, 70), True, frozenset({"amx_int8_compressed", "attention_u8_tiles"})),
    Whole("qdq", "synthetic:minilm-l6?layers=1&form=qdq", (1, 33), True, frozenset({"amx_int8"})),
    Whole("dense", _F32, (1, 40), False, frozenset({"amx_f32"})),
    Whole("dense in bfloat16", _F32, (1, 40), False, frozenset({"amx_bf16"}), "bf16"),
    Whole(
        "dense in bfloat16, padded",
        _F32,
        (2, 70),
        False,
        frozenset({"amx_bf16", "attention_bf16_tiles"}),
        "bf16",
    ),
    Whole(
        "sparse in bfloat16",
        f"{_F32}&sparsity=0.5",
        (1, 40),
        False,
        frozenset({"amx_bf16_compressed"}),
        "bf16",
    ),
)
LARGE = (
    Whole(
        "bert-base int",
        "synthetic:bert-base?form=int&sparsity=0.9",
        (1, 128),
        True,
        frozenset({"amx_int8_compressed", "attention_u8_tiles"}),
    ),
    Whole("bert-base", "synthetic:bert-base?layers=2", (1, 128), False, frozenset({"amx_f32"})),
    Whole(
        "minilm int",
        "synthetic:minilm-l6?form=int&sparsity=0.8",
        (3, 90),
        True,
        frozenset({"amx_int8_compressed"}),
    ),
)


def outputs(whole: Whole, cores: int) -> list[Array]:
    """What an engine of so many cores computes, for inputs that are always the same."""
    batch, length = whole.shape
    engine = Engine(
        whole.model, batch, num_cores=cores, input_shapes=[[batch, length]], precision=whole.precision
    )
    inputs = engine.generate_random_inputs(seed=7)
    if batch > 1:
        inputs[1][-1, 2 * length // 3 :] = 0
    return [np.asarray(y) for y in engine.run(inputs)]


def families(whole: Whole) -> set[str]:
    """The families of all kernels that were picked."""
    batch, length = whole.shape
    found = explain(whole.model, batch_size=batch, input_shapes=[[batch, length]], precision=whole.precision)
    return {layer.kernel.split("__")[0] for layer in found.layers}


def main(file: str, *, large: bool) -> None:
    """Compute all models and write their outputs."""
    found: dict[str, Any] = {
        f"{whole.name}/{i}": y
        for whole in (LARGE if large else MODELS)
        for i, y in enumerate(outputs(whole, 2))
    }
    np.savez(file, **found)


if __name__ == "__main__":
    main(sys.argv[1], large=len(sys.argv) > 2)
