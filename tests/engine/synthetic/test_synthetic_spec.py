"""Queries and names of synthetic models: what they mean, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OptionError
from engine.synthetic import is_synthetic
from engine.synthetic.spec import Spec, parse

CASES = [
    ("bert-base", "bert-base-dense-f32"),
    ("bert-base?sparsity=0.9&quantized=1", "bert-base-p90-qdq"),
    ("bert-base?sparsity=0.9&form=int&block=4", "bert-base-p90b4-int"),
    ("bert-base?quantized=0", "bert-base-dense-f32"),
    ("bert-base?quantized=true&lnop=1&seqcls=1", "bert-base-dense-qdq-lnop-seqcls"),
    ("minilm-l6?sparsity=0.8&form=int&s8=1&seed=3&layers=2", "minilm-l6-p80-int-s8-seed3-layers2"),
    ("resnet50?sparsity=0.95&quantized=1", "resnet50-p95-qdq"),
    ("resnet50?quantized=1&pc=0&bias=0&bn=1", "resnet50-dense-qdq-pt-fbias-bn"),
    ("yolov5s?sparsity=0.05", "yolov5s-p05-f32"),
    ("mobilenet-v2-dense-qdq-fqw", "mobilenet-v2-dense-qdq-fqw"),
    ("bert-base-dense-qdq-pc-qbias", "bert-base-dense-qdq-pc-qbias"),
]
REFUSED = [
    ("", "no synthetic model"),
    ("alexnet", "no synthetic model"),
    ("bert-base-p9-f32", "no synthetic model"),
    ("bert-base-p90-f32-huge", "'huge'"),
    ("bert-base?depth=3", "'depth'"),
    ("bert-base?sparsity=1.5", "0 to 0.99"),
    ("bert-base?sparsity=0.123", "0 to 0.99"),
    ("bert-base?sparsity=nan", "0 to 0.99"),
    ("bert-base?sparsity=most", "0 to 0.99"),
    ("bert-base?sparsity=0.9&block=3", "1 or 4"),
    ("bert-base?block=4", "pruned models"),
    ("bert-base?quantized=perhaps", "0 or 1"),
    ("bert-base?form=int4", "f32, qdq"),
    ("bert-base?seed=-1", "0 or more"),
    ("bert-base?layers=-1", "0 (all)"),
    ("bert-base?bn=1", "CNNs"),
    ("bert-base?s8=1", "form=int"),
    ("bert-base?pc=1", "form=qdq"),
    ("minilm-l6?seqcls=1", "bert-base"),
    ("resnet50?form=int", "transformers"),
    ("resnet50?layers=2", "transformers"),
    ("resnet50?lnop=1", "transformers"),
]


@pytest.mark.parametrize(("text", "name"), CASES)
def test_query_and_name_mean_the_same(text: str, name: str) -> None:
    spec = parse(f"synthetic:{text}")
    assert spec.name == name
    assert parse(f"synthetic:{name}") == spec


@pytest.mark.parametrize(("text", "part"), REFUSED)
def test_refusal_names_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(f"synthetic:{text}")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_model_or_an_option_error(text: str) -> None:
    with contextlib.suppress(OptionError):
        assert isinstance(parse(f"synthetic:{text}"), Spec)


def test_only_the_prefix_makes_a_model_synthetic() -> None:
    assert is_synthetic("synthetic:bert-base")
    assert not is_synthetic("models/synthetic.onnx")
