"""Programs that nobody here wrote, run over InferenceSession in place of ONNX Runtime's; each skips where it is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import engine.session as ours
import pipelines

pytestmark = [
    pytest.mark.xdist_group("cores"),
    # Warnings of other packages while they load are theirs.
    pytest.mark.filterwarnings("default"),
]
SENTIMENT = next((Path(pipelines.__file__).parent / "models").glob("sentiment-*"))
TEXTS = ["A delight from the first minute to the last.", "What a bore.", ""]


def with_ours(patch: pytest.MonkeyPatch) -> None:
    for name in ("InferenceSession", "IOBinding", "OrtValue"):
        patch.setattr(onnxruntime, name, getattr(ours, name))


def test_magika_names_the_same_kinds_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    magika = pytest.importorskip("magika", reason="needs the package magika")
    contents = [
        b"import sys\nfor i in range(3):\n    print(i)\n" * 4,
        b"<html><body>hello</body></html>" * 5,
        b"{}" * 40,
    ]
    expected = [magika.Magika().identify_bytes(content) for content in contents]
    with_ours(monkeypatch)
    found = [magika.Magika().identify_bytes(content) for content in contents]
    assert [r.output.label for r in found] == [r.output.label for r in expected]
    np.testing.assert_allclose([r.score for r in found], [r.score for r in expected], atol=1e-3)


@pytest.mark.parametrize("use_io_binding", [False, True])
def test_optimum_classifies_the_same(monkeypatch: pytest.MonkeyPatch, use_io_binding: bool) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="needs the packages optimum-onnx and torch")
    transformers = pytest.importorskip("transformers")

    def answers() -> Any:
        model = optimum.ORTModelForSequenceClassification.from_pretrained(
            SENTIMENT, file_name="model.onnx", use_io_binding=use_io_binding
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(SENTIMENT)
        return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)(TEXTS)

    expected = answers()
    with_ours(monkeypatch)
    found = answers()
    assert [a["label"] for a in found] == [a["label"] for a in expected]
    np.testing.assert_allclose([a["score"] for a in found], [a["score"] for a in expected], atol=0.02)


def test_sentence_transformers_embeds_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = pytest.importorskip(
        "sentence_transformers", reason="needs the packages sentence-transformers, torch"
    )
    pytest.importorskip("optimum.onnxruntime", reason="needs the packages optimum-onnx and torch")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    for file in SENTIMENT.iterdir():
        if file.suffix in (".json", ".txt"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    table = np.random.default_rng(0).standard_normal((40000, 32)).astype(np.float32)
    ids, mask, state = (
        helper.make_tensor_value_info(name, kind, ["batch", "sequence", *rest])
        for name, kind, rest in (
            ("input_ids", TensorProto.INT64, []),
            ("attention_mask", TensorProto.INT64, []),
            ("last_hidden_state", TensorProto.FLOAT, [32]),
        )
    )
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "axis"], ["u"]),
        helper.make_node("Mul", ["e", "u"], ["last_hidden_state"]),
    ]
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([2]), "axis")]
    graph = helper.make_graph(nodes, "embedding", [ids, mask], [state], constants)
    (tmp_path / "onnx").mkdir()
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "onnx" / "model.onnx")

    def vectors() -> Any:
        return package.SentenceTransformer(str(tmp_path), backend="onnx", device="cpu").encode(TEXTS[:2])

    expected = vectors()
    with_ours(monkeypatch)
    np.testing.assert_allclose(vectors(), expected, atol=1e-4)
