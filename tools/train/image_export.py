"""From a trained image model to one int8 ONNX file; and the batches that calibration reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn


class Batches:
    """Inputs by name, one batch after the other, as ONNX Runtime's calibration asks for them."""

    def __init__(self, batches: list[dict[str, NDArray[Any]]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)


def export_images(model: nn.Module, path: Path, names: tuple[str, str], shape: tuple[int, int, int]) -> None:
    """Write an f32 ONNX file with a free batch axis.

    names   of the input and of the output
    shape   channels, height and width
    """
    torch.onnx.export(
        model.eval(),
        (torch.zeros(2, *shape),),
        str(path),
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_axes={name: {0: "batch"} for name in names},
        opset_version=17,
        do_constant_folding=True,
        dynamo=False,
    )
    onnx.checker.check_model(str(path))


def quantise_images(source: Path, path: Path, name: str, images: NDArray[np.float32], **options: Any) -> None:
    """Static QDQ, calibrated on images: activations u8, weights s8 symmetric per output channel."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        str(source),
        str(path),
        Batches([{name: images[i : i + 32]} for i in range(0, len(images), 32)]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        **options,
    )
    onnx.checker.check_model(str(path))
