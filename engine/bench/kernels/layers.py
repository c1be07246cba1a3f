"""The layers that kernels are measured on: matrices of well-known models, with the lanes they meet there."""

from __future__ import annotations

from dataclasses import dataclass

ZEROS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
# Lanes of a transformer: tokens of a step of decoding, of a short request, of a sequence, of a batch.
TOKENS = (1, 8, 16, 32, 64, 128, 512, 1024, 4096)


@dataclass(frozen=True, slots=True)
class Layer:
    """A weight matrix [m, k] of a model, and over how many lanes it is measured."""

    model: str
    m: int
    k: int
    lanes: tuple[int, ...]


# Lanes of a convolution are the pixels of its result, at 224 x 224 and batch 1.
LAYERS = (
    Layer("BERT-base", 768, 768, TOKENS),
    Layer("BERT-base", 3072, 768, TOKENS),
    Layer("BERT-base", 768, 3072, TOKENS),
    Layer("BERT-large", 1024, 1024, TOKENS),
    Layer("BERT-large", 4096, 1024, TOKENS),
    Layer("BERT-large", 1024, 4096, TOKENS),
    Layer("ResNet-50", 64, 256, (3136,)),
    Layer("ResNet-50", 256, 64, (3136,)),
    Layer("ResNet-50", 128, 512, (784,)),
    Layer("ResNet-50", 512, 128, (784,)),
    Layer("ResNet-50", 256, 1024, (196,)),
    Layer("ResNet-50", 1024, 256, (196,)),
    Layer("ResNet-50", 512, 2048, (49,)),
    Layer("ResNet-50", 2048, 512, (49,)),
    Layer("MobileNet", 128, 64, (3136,)),
    Layer("MobileNet", 128, 128, (3136,)),
    Layer("MobileNet", 256, 256, (784,)),
    Layer("MobileNet", 512, 512, (196,)),
    Layer("MobileNet", 1024, 1024, (49,)),
)
QUICK_LAYERS = (
    Layer("BERT-base", 3072, 768, (128, 1024)),
    Layer("BERT-base", 768, 3072, (8, 16, 128)),
    Layer("ResNet-50", 1024, 256, (196,)),
    Layer("MobileNet", 512, 512, (196,)),
)
