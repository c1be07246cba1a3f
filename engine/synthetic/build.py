"""From a spec to a model: statistics of batch norms, ranges of activations, then the graph itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
from onnx import ModelProto

from engine.synthetic import calibrate, transformer
from engine.synthetic.builder import F32, Array, Recipe
from engine.synthetic.classifiers import mobilenet_v2, resnet50
from engine.synthetic.layers import Layers
from engine.synthetic.outline import Outline
from engine.synthetic.spec import Spec
from engine.synthetic.transformer import Encoder
from engine.synthetic.yolo import yolov5s

ARCHITECTURES: Mapping[str, Callable[[Layers], Outline]] = MappingProxyType(
    {
        "bert-base": partial(transformer.build, Encoder(12, 768, 3072, 12, "answer")),
        "minilm-l6": partial(transformer.build, Encoder(6, 384, 1536, 12, "none")),
        "resnet50": resnet50,
        "mobilenet-v2": mobilenet_v2,
        "yolov5s": yolov5s,
    }
)

# Rows of a calibration run; detectors see large images.
_STATISTICS_ROWS = {"resnet50": 8, "mobilenet-v2": 8, "yolov5s": 2}
_RANGES_ROWS = {"yolov5s": 2}
_DEFAULT_ROWS = 4


def build_model(spec: Spec) -> ModelProto:
    """The model of this spec: the same bytes every time.

    Takes up to about 15 s and 2 GB (bert-base); CNNs and quantised forms need a calibration run.
    """
    statistics = _statistics(spec) if spec.kind == "cnn" else ()
    plain, layers = _write(Recipe(spec, "f32", statistics=statistics))
    if spec.form != "f32":
        points = layers.quantiser.points
        feeds = calibrate.calibration_feeds(plain, _RANGES_ROWS.get(spec.architecture, _DEFAULT_ROWS), seed=2)
        values = calibrate.run(plain, points, feeds)
        ranges = [(float(value.min()), float(value.max())) for value in values]
        plain, _ = _write(Recipe(spec, spec.form, ranges, statistics))
    for key, text in (("generator", "make_models.py"), ("name", spec.name), ("weights", "random")):
        entry = plain.metadata_props.add()
        entry.key, entry.value = key, text
    return plain


def _write(recipe: Recipe) -> tuple[ModelProto, Layers]:
    layers = Layers(recipe)
    outline = ARCHITECTURES[recipe.spec.architecture](layers)
    return layers.graph.model(outline.inputs, outline.outputs, outline.opset), layers


def _statistics(spec: Spec) -> Sequence[tuple[F32, F32]]:
    """Mean and variance of every convolution's output; rounded, so that no summation order shows."""
    model, layers = _write(Recipe(spec, "statistics"))
    feeds = calibrate.calibration_feeds(model, _STATISTICS_ROWS[spec.architecture], seed=1)
    values = [_half(value) for value in calibrate.run(model, layers.graph.measured, feeds)]
    return [
        (mean, np.maximum(variance, np.float32(1e-3)))
        for mean, variance in zip(values[::2], values[1::2], strict=True)
    ]


def _half(value: Array) -> F32:
    return value.ravel().astype(np.float16).astype(np.float32)
