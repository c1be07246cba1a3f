"""YOLOv5s: 640 x 640 images, 25,200 boxes of 80 classes, decoding within the graph."""

from __future__ import annotations

import numpy as np

from engine.synthetic.builder import GraphBuilder
from engine.synthetic.layers import Convolution, Layers
from engine.synthetic.outline import Outline, image_outline

SIZE, VALUES = 640, 85

# stride -> three anchors, width and height each
ANCHORS = {
    8: (10, 13, 16, 30, 33, 23),
    16: (30, 61, 62, 45, 59, 119),
    32: (116, 90, 156, 198, 373, 326),
}


def _unit(layers: Layers, x: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> str:
    return layers.silu(layers.convolution(x, Convolution(inputs, outputs, kernel, stride)))


def _join(graph: GraphBuilder, *tensors: str) -> str:
    return graph.node("Concat", *tensors, axis=1)


def _stage(layers: Layers, x: str, inputs: int, outputs: int, blocks: int, *, add: bool = True) -> str:
    """The C3 module: a chain of bottlenecks beside a single unit."""
    width = outputs // 2
    chain = _unit(layers, x, inputs, width)
    for _ in range(blocks):
        y = _unit(layers, _unit(layers, chain, width, width), width, width, 3)
        chain = layers.graph.node("Add", chain, y) if add else y
    beside = _unit(layers, x, inputs, width)
    return _unit(layers, _join(layers.graph, chain, beside), outputs, outputs)


def _pool(graph: GraphBuilder, x: str) -> str:
    return graph.node("MaxPool", x, kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4, ceil_mode=0)


def _twice(graph: GraphBuilder, x: str) -> str:
    return graph.node(
        "Resize",
        x,
        "",
        graph.constant(np.array([1, 1, 2, 2], np.float32)),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def yolov5s(layers: Layers) -> Outline:
    """Backbone, neck and three detection heads; scopes carry the published layer numbers."""
    graph = layers.graph
    features = _backbone(layers)
    outputs = []
    heads = _neck(layers, *features)
    graph.scope = "/model.24"
    for (stride, anchors), x, channels in zip(ANCHORS.items(), heads, (128, 256, 512), strict=True):
        outputs.append(_decode(layers, x, channels, stride, anchors))
    boxes = _join(graph, *outputs)
    return image_outline(graph, boxes, names=("images", "output0"), size=SIZE, output=[25200, VALUES])


def _backbone(layers: Layers) -> tuple[str, str, str]:
    """Features at strides 8, 16 and 32."""
    graph = layers.graph
    graph.scope = "/model.0"
    x = layers.silu(layers.convolution("images", Convolution(3, 32, 6, 2, 2, pruned=False)))
    kept = []
    for index, inputs, blocks in ((1, 32, 1), (3, 64, 2), (5, 128, 3), (7, 256, 1)):
        graph.scope = f"/model.{index}"
        x = _unit(layers, x, inputs, 2 * inputs, 3, 2)
        graph.scope = f"/model.{index + 1}"
        x = _stage(layers, x, 2 * inputs, 2 * inputs, blocks)
        kept.append(x)
    graph.scope = "/model.9"
    pools = [_unit(layers, x, 512, 256)]
    for _ in range(3):
        pools.append(_pool(graph, pools[-1]))
    return kept[1], kept[2], _unit(layers, _join(graph, *pools), 1024, 512)


def _neck(layers: Layers, fine: str, middle: str, coarse: str) -> tuple[str, str, str]:
    """Features carried up and down again, at strides 8, 16 and 32."""
    graph = layers.graph
    graph.scope = "/model.10"
    top = _unit(layers, coarse, 512, 256)
    graph.scope = "/model.13"
    x = _stage(layers, _join(graph, _twice(graph, top), middle), 512, 256, 1, add=False)
    graph.scope = "/model.14"
    side = _unit(layers, x, 256, 128)
    graph.scope = "/model.17"
    first = _stage(layers, _join(graph, _twice(graph, side), fine), 256, 128, 1, add=False)
    graph.scope = "/model.18"
    x = _unit(layers, first, 128, 128, 3, 2)
    graph.scope = "/model.20"
    second = _stage(layers, _join(graph, x, side), 256, 256, 1, add=False)
    graph.scope = "/model.21"
    x = _unit(layers, second, 256, 256, 3, 2)
    graph.scope = "/model.23"
    return first, second, _stage(layers, _join(graph, x, top), 512, 512, 1, add=False)


def _decode(layers: Layers, x: str, channels: int, stride: int, anchors: tuple[int, ...]) -> str:
    """One head: values per anchor and cell, then boxes in pixels."""
    graph, cells = layers.graph, SIZE // stride
    y = layers.convolution(x, Convolution(channels, 3 * VALUES, pruned=False, batch_norm=False))
    y = graph.node("Reshape", y, graph.shape(-1, 3, VALUES, cells, cells))
    y = graph.node("Sigmoid", graph.node("Transpose", y, perm=[0, 1, 3, 4, 2]))
    centre, size, classes = graph.split_node("Split", y, graph.shape(2, 2, 81), outputs=3, axis=4)
    rows, columns = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
    corners = (np.stack([columns, rows], -1)[None, None] - 0.5).astype(np.float32)
    moved = graph.node("Add", graph.node("Mul", centre, graph.scalar(2)), graph.initialiser(corners))
    centre = graph.node("Mul", moved, graph.scalar(stride))
    squared = graph.node("Pow", graph.node("Mul", size, graph.scalar(2)), graph.scalar(2))
    boxes = np.array(anchors, np.float32).reshape(1, 3, 1, 1, 2)
    size = graph.node("Mul", squared, graph.initialiser(boxes))
    joined = graph.node("Concat", centre, size, classes, axis=4)
    return graph.node("Reshape", joined, graph.shape(-1, 3 * cells * cells, VALUES))
