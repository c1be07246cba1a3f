"""Export architectures that people run, with random weights, to compare engines on.

    python tools/export_architectures.py FOLDER [name ...]

Needs torch and transformers, which the product itself does not. Deep encoders have fewer layers than the published ones:
what matters is the graph of a layer, as the exporter writes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

OPSET = 17
Case = tuple[Callable[[], Any], tuple[int, ...], str]


def _whisper_encoder() -> Any:
    heads = {"encoder_attention_heads": 6, "decoder_attention_heads": 6}
    inner = {"encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536}
    config = transformers.WhisperConfig(d_model=384, encoder_layers=4, decoder_layers=1, **heads, **inner)
    return transformers.WhisperModel(config).encoder


SMALL: dict[str, Any] = {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 6}
IMAGE, IDS = "pixel_values", "input_ids"
# Encoders of text as they are served: with a mask of the padding, for any batch and length. Few words, for the file's sake.
BASE: dict[str, Any] = {"num_hidden_layers": 6, "vocab_size": 4096}
DEBERTA_V3: dict[str, Any] = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 256,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
TOKENS, MASKED = (1, 128), "input_ids and attention_mask"
# Name: the model, the shape of its input, and the input's name.
CASES: dict[str, Case] = {
    "vit-base": (
        lambda: transformers.ViTModel(transformers.ViTConfig(num_hidden_layers=6)),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "deit-small": (
        lambda: transformers.DeiTModel(transformers.DeiTConfig(**SMALL, intermediate_size=1536)),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "dinov2-small": (
        lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, image_size=224)),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "convnext-tiny": (
        lambda: transformers.ConvNextModel(transformers.ConvNextConfig()),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "efficientnet-b0": (
        lambda: transformers.EfficientNetModel(
            transformers.EfficientNetConfig(
                image_size=224, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280
            )
        ),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "mobilenet-v1": (
        lambda: transformers.MobileNetV1Model(transformers.MobileNetV1Config()),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "mobilevit-small": (
        lambda: transformers.MobileViTModel(transformers.MobileViTConfig(image_size=256)),
        (1, 3, 256, 256),
        IMAGE,
    ),
    "regnet-y": (
        lambda: transformers.RegNetModel(
            transformers.RegNetConfig(hidden_sizes=[48, 120, 336, 888], depths=[2, 6, 17, 2], groups_width=24)
        ),
        (1, 3, 224, 224),
        IMAGE,
    ),
    "segformer-b0": (
        lambda: transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig()),
        (1, 3, 512, 512),
        IMAGE,
    ),
    "swin-tiny": (lambda: transformers.SwinModel(transformers.SwinConfig()), (1, 3, 224, 224), IMAGE),
    "clip-text": (
        lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(num_hidden_layers=6)),
        (1, 77),
        IDS,
    ),
    "t5-small-encoder": (
        lambda: transformers.T5EncoderModel(transformers.T5Config(num_layers=6)),
        (1, 128),
        IDS,
    ),
    "wav2vec2": (
        lambda: transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(num_hidden_layers=4)),
        (1, 16000),
        "input_values",
    ),
    "modernbert-base": (
        lambda: transformers.ModernBertModel(
            transformers.ModernBertConfig(**BASE, pad_token_id=0, attn_implementation="eager")
        ),
        TOKENS,
        MASKED,
    ),
    "nomic-bert": (lambda: transformers.NomicBertModel(transformers.NomicBertConfig(**BASE)), TOKENS, MASKED),
    "xlm-roberta-base": (
        lambda: transformers.XLMRobertaModel(
            transformers.XLMRobertaConfig(**BASE, max_position_embeddings=514, type_vocab_size=1)
        ),
        TOKENS,
        MASKED,
    ),
    "deberta-v3-base": (
        lambda: transformers.DebertaV2Model(transformers.DebertaV2Config(**BASE, **DEBERTA_V3)),
        TOKENS,
        MASKED,
    ),
    "electra-small": (
        lambda: transformers.ElectraModel(transformers.ElectraConfig(**BASE)),
        TOKENS,
        MASKED,
    ),
    "albert-base": (
        lambda: transformers.AlbertModel(
            transformers.AlbertConfig(
                **BASE, hidden_size=768, num_attention_heads=12, intermediate_size=3072, embedding_size=128
            )
        ),
        TOKENS,
        MASKED,
    ),
    "mobilebert": (
        lambda: transformers.MobileBertModel(transformers.MobileBertConfig(**BASE)),
        TOKENS,
        MASKED,
    ),
    "mpnet-base": (
        lambda: transformers.MPNetModel(transformers.MPNetConfig(**BASE, max_position_embeddings=514)),
        TOKENS,
        MASKED,
    ),
    "whisper-tiny-encoder": (_whisper_encoder, (1, 80, 3000), "input_features"),
}


class First(torch.nn.Module):
    """A model by its inputs and its first output."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The first output."""
        first: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=True)[0]
        return first


def export(name: str, folder: Path) -> Path:
    """Write one model; returns its file."""
    make, shape, fed = CASES[name]
    torch.manual_seed(0)
    names = [IDS, "attention_mask"] if fed == MASKED else [fed]
    inputs = [torch.randint(3, 1000, shape) if IDS in fed else torch.randn(shape)]
    inputs += [torch.ones_like(inputs[0]) for _ in names[1:]]
    path = folder / f"{name}.onnx"
    model = First(make().eval(), names).eval()
    torch.onnx.export(
        model,
        tuple(inputs),
        str(path),
        input_names=names,
        output_names=["y"],
        dynamic_axes={each: {0: "batch", 1: "sequence"} for each in [*names, "y"]} if fed == MASKED else None,
        opset_version=OPSET,
        dynamo=False,
    )
    return path


def main() -> None:
    """Export what is named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="name")
    options = parser.parse_args()
    unknown = sorted({*options.names} - {*CASES})
    if unknown:
        parser.error(f"no architecture {', '.join(unknown)}. Known: {', '.join(CASES)}.")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or CASES:
        sys.stdout.write(f"{export(name, options.folder)}\n")


if __name__ == "__main__":
    main()
