"""Image classifiers: ResNet-50 and MobileNet-V2, 224 x 224, 1,000 classes."""

from __future__ import annotations

from engine.synthetic.layers import Convolution, Layers
from engine.synthetic.outline import Outline, image_outline

SIZE, CLASSES = 224, 1000

# blocks, width, stride of the first block
RESNET50_STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
# expansion, channels, blocks, stride of the first block
MOBILENET_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _classes(layers: Layers, x: str, channels: int) -> Outline:
    graph = layers.graph
    pooled = graph.node("GlobalAveragePool", layers.quantiser.activation(x))
    flat = graph.node("Flatten", pooled, axis=1)
    logits = layers.gemm(flat, channels, CLASSES, std=(8.0 / channels) ** 0.5)
    return image_outline(graph, logits, names=("input", "output"), size=SIZE, output=[CLASSES])


def resnet50(layers: Layers) -> Outline:
    """Bottleneck blocks with projections at the head of each stage."""
    graph = layers.graph
    graph.scope = "/conv1"
    x = layers.relu(layers.convolution("input", Convolution(3, 64, 7, 2, 3, pruned=False)))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=0)
    channels = 64
    for stage, (blocks, width, first_stride) in enumerate(RESNET50_STAGES, start=1):
        for block in range(blocks):
            graph.scope = f"/layer{stage}/layer{stage}.{block}"
            x = _bottleneck(layers, x, channels, width, first_stride if block == 0 else 1, first=block == 0)
            channels = 4 * width
    graph.scope = "/fc"
    return _classes(layers, x, channels)


def _bottleneck(layers: Layers, x: str, channels: int, width: int, stride: int, *, first: bool) -> str:
    activation = layers.quantiser.activation
    y = layers.relu(layers.convolution(x, Convolution(channels, width)))
    y = layers.relu(layers.convolution(y, Convolution(width, width, 3, stride)))
    y = activation(layers.convolution(y, Convolution(width, 4 * width, gain=0.5)))
    if first:
        x = layers.convolution(x, Convolution(channels, 4 * width, 1, stride))
    return layers.relu(layers.graph.node("Add", y, activation(x)))


def mobilenet_v2(layers: Layers) -> Outline:
    """Inverted residual blocks: expand, depthwise, project."""
    graph = layers.graph
    graph.scope = "/features.0"
    x = layers.relu6(layers.convolution("input", Convolution(3, 32, 3, 2, pruned=False)))
    channels, index = 32, 0
    for expansion, outputs, blocks, first_stride in MOBILENET_V2_STAGES:
        for block in range(blocks):
            index += 1
            graph.scope = f"/features.{index}"
            x = _inverted(layers, x, channels, outputs, expansion, first_stride if block == 0 else 1)
            channels = outputs
    graph.scope = "/features.18"
    x = layers.relu6(layers.convolution(x, Convolution(channels, 1280)))
    graph.scope = "/classifier"
    return _classes(layers, x, 1280)


def _inverted(layers: Layers, x: str, channels: int, outputs: int, expansion: int, stride: int) -> str:
    wide = channels * expansion
    residual = stride == 1 and channels == outputs
    y = layers.relu6(layers.convolution(x, Convolution(channels, wide))) if expansion > 1 else x
    y = layers.relu6(layers.convolution(y, Convolution(wide, wide, 3, stride, groups=wide)))
    y = layers.convolution(y, Convolution(wide, outputs, gain=0.5 if residual else 1.0))
    if not residual:
        return y
    activation = layers.quantiser.activation
    return layers.graph.node("Add", activation(x), activation(y))
