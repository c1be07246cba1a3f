"""The base encoder's word pieces, cut to those that a task needs; rows of ids, padded."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, CLS, SEP = 0, 2, 3
Int64 = NDArray[np.int64]


def trim_vocabulary(
    base: Path, out: Path, texts: list[str], *, frequent: int, least: int, positions: int
) -> list[int]:
    """Write a smaller tokenizer; the old ids of its pieces, in their new order.

    Kept are special tokens, single characters, the first `frequent` ids (the base vocabulary is ordered by
    frequency), and every piece that occurs at least `least` times in the texts.
    """
    words = (base / "vocab.txt").read_text(encoding="utf-8").splitlines()
    encodings = Tokenizer.from_file(str(base / "tokenizer.json")).encode_batch(texts)
    seen = Counter(i for encoding in encodings for i in encoding.ids)
    kept = [words.index(word) for word in SPECIAL]
    for index, word in enumerate(words):
        if word in SPECIAL or word.startswith("[unused"):
            continue
        if seen[index] >= least or index < frequent or len(word.removeprefix("##")) == 1:
            kept.append(index)
    out.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(base, out, [words[index] for index in kept], positions)
    return kept


def _write_tokenizer(base: Path, out: Path, words: list[str], positions: int) -> None:
    ids = {word: index for index, word in enumerate(words)}
    content = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"] = ids
    content["truncation"] = content["padding"] = None
    for token in content["added_tokens"]:
        token["id"] = ids[token["content"]]
    frame = content["post_processor"]
    for token in frame.get("special_tokens", {}).values():
        token["ids"] = [ids[word] for word in token["tokens"]]
    for name in {"cls", "sep"} & set(frame):
        frame[name][1] = ids[frame[name][0]]
    (out / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (out / "vocab.txt").write_text("".join(word + "\n" for word in words), encoding="utf-8")
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    special = dict(zip(names, SPECIAL, strict=True))
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": positions,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
    }
    for name, value in (("special_tokens_map", special), ("tokenizer_config", settings | special)):
        (out / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def pad(rows: list[list[int]], kinds: list[list[int]] | None = None) -> tuple[Int64, Int64, Int64]:
    """Ids, mask and types, int64 [rows, longest row]."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids, types = np.full(mask.shape, PAD, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = [i for row in rows for i in row]
    if kinds is not None:
        types[mask] = [i for row in kinds for i in row]
    return ids, mask.astype(np.int64), types


def batches(lengths: list[int], size: int, rng: np.random.Generator) -> list[Int64]:
    """Index batches of rows of similar length, in random order."""
    order = rng.permutation(len(lengths))
    groups = [order[i : i + size * 64] for i in range(0, len(order), size * 64)]
    sorted_groups = [group[np.argsort([lengths[i] for i in group], kind="stable")] for group in groups]
    found = [group[i : i + size] for group in sorted_groups for i in range(0, len(group), size)]
    return [found[i] for i in rng.permutation(len(found))]
