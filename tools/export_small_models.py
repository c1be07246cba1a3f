"""Write the small models of tests/data/exported: real architectures, random weights, every exporter and quantiser.

    python tools/export_small_models.py [name ...]

Needs torch, transformers, onnxscript and onnxruntime, which the product itself does not. Each model has two layers
(DeBERTa one) of 32 features, four heads, 32 inner features, 60 words and 64 positions; names inside are shortened, so
that a file stays under 100 KB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "exported"
WORDS, POSITIONS, HEADS, WIDTH = 60, 64, 4, 32
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "max_position_embeddings": POSITIONS,
}
NARROW = {**SIZES, "embedding_size": 16}
CONFIGS: dict[str, Callable[[], Any]] = {
    "albert": lambda: transformers.AlbertConfig(**NARROW),
    "bert": lambda: transformers.BertConfig(**SIZES),
    "deberta": lambda: transformers.DebertaV2Config(
        **{**SIZES, "type_vocab_size": 0, "num_hidden_layers": 1},
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
    ),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=WORDS,
        dim=WIDTH,
        n_heads=HEADS,
        n_layers=2,
        hidden_dim=32,
        max_position_embeddings=POSITIONS,
    ),
    "electra": lambda: transformers.ElectraConfig(**NARROW),
    "mobilebert": lambda: transformers.MobileBertConfig(
        **NARROW, intra_bottleneck_size=16, num_feedforward_networks=2
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
        global_attn_every_n_layers=2,
        local_attention=16,
    ),
    "nomic": lambda: transformers.NomicBertConfig(**SIZES),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, type_vocab_size=1),
    "xlm_roberta": lambda: transformers.XLMRobertaConfig(**SIZES, type_vocab_size=1),
}
WITH_TYPES = frozenset({"albert", "bert", "electra", "mobilebert"})
TASKS = {
    "base": "AutoModel",
    "pooled": "AutoModel",
    "sequences": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "answers": "AutoModelForQuestionAnswering",
    "words": "AutoModelForMaskedLM",
}
OUTPUTS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")


@dataclass(frozen=True)
class Export:
    """One f32 file: architecture, what stands on top of it, and who wrote it."""

    architecture: str
    task: str
    attention: str
    opset: int
    dynamo: bool = False


EXPORTS = {
    "bert_eager_ts11": Export("bert", "base", "eager", 11),
    "bert_eager_ts17": Export("bert", "sequences", "eager", 17),
    "bert_sdpa_ts17": Export("bert", "sequences", "sdpa", 17),
    "bert_sdpa_dynamo18": Export("bert", "words", "sdpa", 18, dynamo=True),
    "bert_sdpa_dynamo23": Export("bert", "base", "sdpa", 23, dynamo=True),
    "minilm_pooled_ts14": Export("bert", "pooled", "sdpa", 14),
    "distilbert_sdpa_ts14": Export("distilbert", "sequences", "sdpa", 14),
    "roberta_eager_ts14": Export("roberta", "tokens", "eager", 14),
    "xlm_roberta_sdpa_dynamo20": Export("xlm_roberta", "base", "sdpa", 20, dynamo=True),
    "mobilebert_eager_ts14": Export("mobilebert", "answers", "eager", 14),
    "albert_sdpa_ts14": Export("albert", "sequences", "sdpa", 14),
    "electra_eager_ts17": Export("electra", "tokens", "eager", 17),
    "mpnet_eager_ts14": Export("mpnet", "base", "eager", 14),
    "deberta_eager_ts17": Export("deberta", "sequences", "eager", 17),
    "modernbert_eager_ts17": Export("modernbert", "tokens", "eager", 17),
    "nomic_eager_ts17": Export("nomic", "base", "eager", 17),
    "modernbert_sdpa_dynamo18": Export("modernbert", "base", "sdpa", 18, dynamo=True),
}


class Named(torch.nn.Module):  # type: ignore[misc]
    """A model whose inputs come by position and whose outputs are a tuple; rows are averaged where asked."""

    def __init__(self, model: Any, names: tuple[str, ...], *, pooled: bool) -> None:
        super().__init__()
        self.model, self.names, self.pooled = model, names, pooled

    def forward(self, *inputs: Any) -> Any:
        """The outputs that tests compare."""
        fed = dict(zip(self.names, inputs, strict=True))
        found = self.model(**fed, return_dict=True)
        if not self.pooled:
            return tuple(value for name, value in found.items() if name in OUTPUTS)
        rows = found["last_hidden_state"]
        kept = fed["attention_mask"].unsqueeze(-1).expand(rows.size()).float()
        mean = (rows * kept).sum(1) / torch.clamp(kept.sum(1), min=1e-9)
        return torch.nn.functional.normalize(mean, p=2, dim=1)


def _model(export: Export) -> Any:
    torch.manual_seed(len(export.architecture))
    made = getattr(transformers, TASKS[export.task]).from_config(
        CONFIGS[export.architecture](), attn_implementation=export.attention
    )
    with torch.no_grad():
        # Fresh biases are zero and gains one: a rewrite that forgot them would not be seen.
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def _write_export(export: Export, path: Path) -> None:
    names = ("input_ids", "attention_mask") + (
        ("token_type_ids",) if export.architecture in WITH_TYPES else ()
    )
    ids, mask = torch.randint(3, WORDS, (2, 12)), torch.ones(2, 12, dtype=torch.long)
    mask[1, 8:] = 0
    fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    model = Named(_model(export), names, pooled=export.task == "pooled")
    shared: dict[str, Any] = {"input_names": list(names), "opset_version": export.opset}
    if export.dynamo:
        axes = {0: torch.export.Dim("batch", max=16), 1: torch.export.Dim("sequence", max=POSITIONS - 2)}
        shared |= {
            "dynamo": True,
            "verbose": False,
            "external_data": False,
            "dynamic_shapes": (tuple(axes for _ in names),),
        }
    else:
        shared |= {"dynamo": False, "dynamic_axes": {name: {0: "batch", 1: "sequence"} for name in names}}
    with torch.no_grad():
        torch.onnx.export(model, tuple(fed[name] for name in names), str(path), **shared)


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """A few random batches for a static quantiser."""

    def __init__(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        mask = np.ones((2, 12), np.int64)
        mask[1, 8:] = 0
        fixed = {"attention_mask": mask, "token_type_ids": np.zeros((2, 12), np.int64)}
        names = [entry.name for entry in onnx.load(path).graph.input]
        self.batches: Iterator[dict[str, Any]] = iter(
            [{name: fixed.get(name, rng.integers(3, WORDS, (2, 12))) for name in names} for _ in range(3)]
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch."""
        return next(self.batches, None)


def _dynamic(source: Path, path: Path, **options: Any) -> None:
    quantize_dynamic(source, path, **options)


def _static(source: Path, path: Path, **options: Any) -> None:
    prepared = path.with_suffix(".prepared")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(prepared, path, Samples(source), **options)
    prepared.unlink()


def _optimised(source: Path, path: Path, *, separate: bool = False) -> None:
    options = FusionOptions("bert")
    options.use_multi_head_attention = separate
    found = optimizer.optimize_model(
        str(source), "bert", num_heads=HEADS, hidden_size=WIDTH, opt_level=0, optimization_options=options
    )
    found.save_model_to_file(str(path))


def _saved_by_runtime(source: Path, path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


SIGNED, UNSIGNED = QuantType.QInt8, QuantType.QUInt8
STATIC = {"activation_type": UNSIGNED, "weight_type": SIGNED, "quant_format": QuantFormat.QDQ}
# name: the file it is made from, and how. Not from sdpa for static ones: its masks hold -inf, and no scale reaches it.
DERIVED: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "bert_optimised": ("bert_eager_ts11", _optimised),
    "bert_optimised_mha": ("bert_eager_ts11", partial(_optimised, separate=True)),
    "bert_extended": ("bert_sdpa_ts17", _saved_by_runtime),
    "bert_dynamic": ("bert_sdpa_ts17", partial(_dynamic, weight_type=SIGNED)),
    "bert_dynamic_channels": ("bert_sdpa_ts17", partial(_dynamic, weight_type=SIGNED, per_channel=True)),
    "bert_dynamic_unsigned": ("bert_sdpa_ts17", partial(_dynamic, weight_type=UNSIGNED)),
    "bert_dynamic_extended": ("bert_dynamic", _saved_by_runtime),
    "bert_optimised_dynamic": (
        "bert_optimised",
        # The quantiser does not know the types of what the optimiser's own operators give.
        partial(_dynamic, weight_type=SIGNED, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT}),
    ),
    "bert_qdq_products": (
        "bert_eager_ts17",
        partial(_static, **STATIC, op_types_to_quantize=["MatMul", "Gemm"]),
    ),
    "bert_qdq": ("bert_eager_ts17", partial(_static, **STATIC)),
    "bert_qdq_channels": ("bert_eager_ts17", partial(_static, **STATIC, per_channel=True)),
    "bert_qdq_signed": ("bert_eager_ts17", partial(_static, **{**STATIC, "activation_type": SIGNED})),
    "bert_qoperator": (
        "bert_eager_ts17",
        partial(_static, **{**STATIC, "quant_format": QuantFormat.QOperator}),
    ),
    "bert_qoperator_signed": (
        "bert_eager_ts17",
        partial(_static, **{**STATIC, "quant_format": QuantFormat.QOperator, "activation_type": SIGNED}),
    ),
}


def _shortened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with short names inside and nothing that only readers need."""
    graph = model.graph
    kept = {entry.name for entry in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"v{len(names)}")

    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        node.doc_string = ""
        del node.metadata_props[:]
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
        if any(entry.HasField("g") for entry in node.attribute):
            message = f"{node.op_type} holds a graph, whose names are not shortened"
            raise NotImplementedError(message)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for entry in (*graph.input, *graph.output):
        del entry.metadata_props[:]
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    model.doc_string, graph.doc_string, model.producer_name = "", "", "export_small_models"
    return model


def write(name: str, folder: Path) -> Path:
    """Write the model `name`, and those it is made from, into `folder`; their names are not shortened yet."""
    path = folder / f"{name}.onnx"
    if path.exists():
        return path
    if name in EXPORTS:
        _write_export(EXPORTS[name], path)
    else:
        source, make = DERIVED[name]
        make(write(source, folder), path)
    return path


def main(arguments: list[str]) -> int:
    """Write the models that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=[*EXPORTS, *DERIVED])
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in parser.parse_args(arguments).names:
            path = FOLDER / f"{name}.onnx"
            onnx.save(_shortened(onnx.load(write(name, Path(folder)))), path)
            sys.stdout.write(f"{path.stat().st_size:8d}  {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
