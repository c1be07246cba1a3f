"""Calibration: a run over random but natural inputs, by the reference evaluator of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from engine.synthetic.builder import Array

SEQUENCE = 64
CELL = 32


def calibration_feeds(model: ModelProto, count: int, seed: int) -> dict[str, Array]:
    """Token ids with one padded row of several, or smooth images with noise on top: `count` rows of each."""
    source = np.random.default_rng([77, seed])
    feeds: dict[str, Array] = {}
    for value in model.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            feeds[value.name] = _tokens(value.name, count, source)
        else:
            size = value.type.tensor_type.shape.dim[2].dim_value
            feeds[value.name] = _images(count, size, source)
    return feeds


def _tokens(name: str, count: int, source: np.random.Generator) -> Array:
    if "mask" in name:
        mask = np.ones((count, SEQUENCE), np.int64)
        if count > 1:
            mask[-1, SEQUENCE * 2 // 3 :] = 0
        return mask
    if "type" in name:
        return (np.arange(SEQUENCE)[None] >= SEQUENCE // 3).astype(np.int64).repeat(count, 0)
    return source.integers(1000, 30000, (count, SEQUENCE))


def _images(count: int, size: int, source: np.random.Generator) -> Array:
    cells = size // CELL + 1
    coarse = source.standard_normal((count, 3, cells, cells)).astype(np.float32)
    middle = slice(CELL // 2, CELL // 2 + size)
    images = coarse.repeat(CELL, 2).repeat(CELL, 3)[:, :, middle, middle]
    images = images + 0.4 * source.standard_normal(images.shape, dtype=np.float32)
    # Detectors take pixels in 0..1, classifiers normalised ones.
    return np.ascontiguousarray(1 / (1 + np.exp(-images)) if size == 640 else images, np.float32)


def run(model: ModelProto, tensors: Sequence[str], feeds: dict[str, Array]) -> list[Array]:
    """The named tensors of a model, in the order given; a name may be an input's or come twice."""
    wanted = [name for name in dict.fromkeys(tensors) if name not in feeds]
    looked_at = ModelProto()
    looked_at.CopyFrom(model)
    del looked_at.graph.output[:]
    looked_at.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted
    )
    results = ReferenceEvaluator(looked_at).run(None, feeds)
    known = {**feeds, **dict(zip(wanted, results, strict=True))}
    return [known[name] for name in tensors]
