"""Tokens: the light way equals transformers' AutoTokenizer on any text, and is left where it would not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, ByT5Tokenizer

import pipelines
from pipelines.lengths import Lengths
from pipelines.tokenizer import JsonEncoder, PythonEncoder, TextEncoder, load_encoder, wrap_tokenizer

FOLDER = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"
LENGTH = 24
LENGTHS = Lengths((LENGTH,), LENGTH)
REFERENCE = AutoTokenizer.from_pretrained(str(FOLDER), local_files_only=True)
ENCODER = load_encoder(FOLDER, LENGTHS)

CASES = [
    "",
    " \t\n",
    "[SEP] special [MASK] words [PAD]",
    "emoji 😀🎉 and 👩‍👩‍👧",
    "שלום עולם, كيف حالك",
    "naïve café ÀÉÎ ﬁ Ⅳ ½",
    "中文字符和 English",
    "a" * 300,
    "word " * 10_000,
    "don't stop-now!!! ... $9.99",
    "null \x00 zero width \u200b\ufeff",
]


def _assert_equal(encoder: TextEncoder, reference: Any, texts: list[Any]) -> None:
    first = [text[0] if isinstance(text, tuple) else text for text in texts]
    second = [text[1] for text in texts if isinstance(text, tuple)] or None
    expected = reference(
        first, second, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np"
    )
    rows = encoder.encode(texts)
    for name in expected:
        np.testing.assert_array_equal(rows[name], expected[name], err_msg=name)


@pytest.mark.parametrize("text", CASES, ids=range(len(CASES)))
def test_tokens_equal_those_of_auto_tokenizer(text: str) -> None:
    assert isinstance(ENCODER, JsonEncoder)
    _assert_equal(ENCODER, REFERENCE, [text])
    _assert_equal(ENCODER, REFERENCE, [(text, "other"), ("other", text)])


# UTF-8 has no lone surrogates, and neither library takes them.
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_tokens_of_any_pair_equal_those_of_auto_tokenizer(first: str, second: str) -> None:
    _assert_equal(ENCODER, REFERENCE, [(first, second)])


@given(st.integers(0, 60), st.integers(0, 60))
def test_pairs_are_cut_as_auto_tokenizer_cuts_them(first: int, second: int) -> None:
    _assert_equal(ENCODER, REFERENCE, [("one " * first, "two " * second)])


def test_a_pair_of_long_texts_costs_no_more_than_its_length() -> None:
    long, half = "word " * 20_000, "word " * 100
    rows, expected = ENCODER.encode([(long, long)]), ENCODER.encode([(half, half)])
    np.testing.assert_array_equal(rows["input_ids"], expected["input_ids"])


def test_a_tokenizer_of_transformers_is_wrapped_and_not_changed() -> None:
    before = REFERENCE.backend_tokenizer.to_str()
    encoder = wrap_tokenizer(REFERENCE, LENGTHS)
    assert REFERENCE.backend_tokenizer.to_str() == before
    _assert_equal(encoder, REFERENCE, CASES)


def _copy(tmp_path: Path, **settings: Any) -> Path:
    for name in ("tokenizer.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(FOLDER / name, tmp_path)
    own = json.loads((FOLDER / "tokenizer_config.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(own | settings), encoding="utf-8")
    shutil.copy(FOLDER / "config.json", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "settings",
    [
        {"padding_side": "left"},
        {"truncation_side": "left"},
        {"padding_side": "left", "truncation_side": "left"},
        {"pad_token": "[UNK]"},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenizer_class": "PreTrainedTokenizerFast"},
    ],
    ids=str,
)
def test_settings_beside_the_tokenizer_are_honoured(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = _copy(tmp_path, **settings)
    reference = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    _assert_equal(load_encoder(folder, LENGTHS), reference, [*CASES, "Éclair FOR All"])


def test_a_vocabulary_alone_is_enough(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "tokenizer.json").unlink()
    _assert_equal(load_encoder(folder, LENGTHS), REFERENCE, CASES)


def test_a_tokenizer_written_in_python_works_too(tmp_path: Path) -> None:
    reference = ByT5Tokenizer()
    reference.save_pretrained(str(tmp_path))
    encoder = load_encoder(tmp_path, LENGTHS)
    assert isinstance(encoder, PythonEncoder)
    _assert_equal(encoder, reference, CASES)
    _assert_equal(encoder, reference, [("a", "b")])
