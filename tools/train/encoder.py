"""A BERT encoder of MiniLM's widths with a head per token or per text, started from a base encoder's weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

HIDDEN, HEADS, INNER, POSITIONS = 384, 12, 1536, 512
MATRICES = ("query", "key", "value", "attention_out", "inner", "outer")
_BASE_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "outer_norm": "output.LayerNorm",
}


def config(head: str, words: int, layers: int, labels: Sequence[str] = ()) -> dict[str, object]:
    """The config.json beside a model: transformers' `BertFor<head>`, with labels where the task has some."""
    described: dict[str, object] = {
        "architectures": [f"BertFor{head}"],
        "model_type": "bert",
        "vocab_size": words,
        "hidden_size": HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    if labels:
        described["id2label"] = {str(index): label for index, label in enumerate(labels)}
        described["label2id"] = {label: index for index, label in enumerate(labels)}
    return described


class Layer(nn.Module):
    """Attention and a feed-forward part, each with its residual and normalisation after it."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(HIDDEN, HIDDEN) for _ in range(3))
        self.attention_out = nn.Linear(HIDDEN, HIDDEN)
        self.attention_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.inner = nn.Linear(HIDDEN, INNER)
        self.outer = nn.Linear(INNER, HIDDEN)
        self.outer_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def heads(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.size(1), HEADS, HIDDEN // HEADS).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        scores = torch.matmul(self.heads(self.query(x)), self.heads(self.key(x)).transpose(-1, -2))
        share = self.dropout(torch.softmax(scores / math.sqrt(HIDDEN // HEADS) + bias, dim=-1))
        mixed = torch.matmul(share, self.heads(self.value(x))).permute(0, 2, 1, 3).contiguous()
        mixed = mixed.view(mixed.size(0), mixed.size(1), HIDDEN)
        x = self.attention_norm(x + self.dropout(self.attention_out(mixed)))
        return self.outer_norm(x + self.dropout(self.outer(F.gelu(self.inner(x)))))


class Encoder(nn.Module):
    """int64 [batch, tokens] ids, mask and types to f32 [batch, tokens, HIDDEN]."""

    def __init__(self, words: int, layers: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, HIDDEN)
        self.position = nn.Embedding(POSITIONS, HIDDEN)
        self.kind = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("places", torch.arange(POSITIONS).unsqueeze(0), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        places = self.places[:, : input_ids.size(1)]
        x = self.word(input_ids) + self.position(places) + self.kind(token_type_ids)
        x = self.dropout(self.norm(x))
        bias = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        return x


class TextModel(nn.Module):
    """An encoder and one head. `per_token` heads answer at every token, the others at the first one."""

    def __init__(self, words: int, layers: int, outputs: int, *, per_token: bool) -> None:
        super().__init__()
        self.encoder = Encoder(words, layers)
        self.pooler = None if per_token else nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, outputs)
        self.dropout = nn.Dropout(0.1)
        for linear in filter(None, (self.pooler, self.head)):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        x = self.encoder(input_ids, attention_mask, token_type_ids)
        if self.pooler is not None:
            x = torch.tanh(self.pooler(x[:, 0]))
        return self.head(self.dropout(x))

    def prunable(self) -> list[nn.Parameter]:
        return [getattr(layer, name).weight for layer in self.encoder.layers for name in MATRICES]


class Spans(nn.Module):
    """A text model with two outputs per token as the two outputs of a question-answering model."""

    def __init__(self, model: TextModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = self.model(input_ids, attention_mask, token_type_ids)
        return logits[..., 0], logits[..., 1]


def start_from(base: Path, kept: list[int], model: TextModel) -> TextModel:
    """Give a model the base encoder's first layers, and of its word table the rows `kept`."""
    source = load_file(base / "model.safetensors")
    source = {name.removeprefix("bert."): value for name, value in source.items()}
    state = {"word.weight": source["embeddings.word_embeddings.weight"][kept]}
    for ours, theirs in {"position": "position_embeddings", "kind": "token_type_embeddings"}.items():
        state[f"{ours}.weight"] = source[f"embeddings.{theirs}.weight"]
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = source[f"embeddings.LayerNorm.{kind}"]
        for index in range(len(model.encoder.layers)):
            for ours, theirs in _BASE_NAMES.items():
                state[f"layers.{index}.{ours}.{kind}"] = source[f"encoder.layer.{index}.{theirs}.{kind}"]
    model.encoder.load_state_dict(state)
    return model
