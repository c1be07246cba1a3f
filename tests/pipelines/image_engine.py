"""Stand-in engines of image tasks: outputs that a test lays down, whatever the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import EngineArguments

Array = NDArray[Any]


def image_engine(shape: tuple[int, ...], *outputs: Array) -> type[Any]:
    """An engine of images [batch, *shape] that answers every row with the same outputs, and keeps its inputs."""

    class ImageEngine:
        input_names = ("images",)

        def __init__(self, arguments: EngineArguments) -> None:
            self.batch_size = arguments.batch_size
            self.input_shapes = arguments.input_shapes or [[arguments.batch_size or -1, *shape]]
            self.calls: list[Array] = []

        def run(self, inp: list[Array]) -> list[Array]:
            self.calls.append(inp[0])
            return [np.repeat(output[None], len(inp[0]), axis=0) for output in outputs]

    return ImageEngine
