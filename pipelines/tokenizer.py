"""Text to arrays of one length, by the tokenizer files that lie beside a model.

`transformers.AutoTokenizer` gives the reference answer, but importing it takes about a second; the library
`tokenizers` under it reads the same tokenizer.json in some 30 ms. So the file is read directly where that is
known to mean the same (`_reads_plainly`), and by AutoTokenizer elsewhere. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from engine import ModelError, ModelNotFoundError, OptionError
from pipelines.deployment import read_json
from pipelines.lengths import Lengths

Text = str | tuple[str, str]
Int64 = NDArray[np.int64]

# Classes whose tokenizer.json says all, but for the normaliser's settings, which `_reads_plainly` compares.
_PLAIN_CLASSES = {
    f"{name}Tokenizer{fast}"
    for name in ("Bert", "DistilBert", "Electra", "MobileBert")
    for fast in ("", "Fast")
} | {"PreTrainedTokenizerFast", "TokenizersBackend"}

_NORMALISER_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


class TextEncoder(Protocol):
    """Turns texts, or pairs of texts, into a model's inputs."""

    def encode(self, texts: Sequence[Text]) -> Mapping[str, Int64]:
        """int64 [texts, length] for each of input_ids, attention_mask and what else the tokenizer gives."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a request before padding, special tokens included."""

    ids: list[int]
    types: list[int]


@dataclass(frozen=True, slots=True)
class Padding:
    """How rows come to one length."""

    lengths: Lengths
    token: int
    token_type: int = 0
    side: str = "right"


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens around and between a row's texts: one more section than there are texts."""

    ids: tuple[tuple[int, ...], ...]
    types: tuple[tuple[int, ...], ...]
    text_types: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.ids))


class JsonEncoder:
    """A tokenizer.json as it stands. Calls may come from several threads: its settings never change.

    Texts are cut here and not by the library, which would also build every combination of the parts it cuts
    off: two texts of 10,000 words each are then gigabytes.
    """

    def __init__(self, tokenizer: Tokenizer, padding: Padding, truncation_side: str = "right") -> None:
        """Take over a tokenizer. Raises OptionError when the padded length has no room for text."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.padding = padding
        self._keeps_end = truncation_side == "left"
        self._frames = {1: _frame(tokenizer.encode("a"), 1), 2: _frame(tokenizer.encode("a", "a"), 2)}
        least = self._frames[2].size + 1
        shortest = min(padding.lengths.buckets, default=padding.lengths.longest)
        if shortest < least:
            message = f"sequence_length must be at least {least} for this tokenizer; got {shortest}."
            raise OptionError(message)

    def encode(self, texts: Sequence[Text]) -> Mapping[str, Int64]:
        # One by one: `encode_batch` would start threads that compete with the engine's for the same cores.
        return self.pad([self._cut((text,) if isinstance(text, str) else text) for text in texts])

    def pad(self, rows: Sequence[Row]) -> dict[str, Int64]:
        """The model's inputs for rows, int64 [rows, the length that fits the longest]."""
        length = self.padding.lengths.fitting(max((len(row.ids) for row in rows), default=0))
        shape = (len(rows), length)
        arrays = {
            "input_ids": np.full(shape, self.padding.token, dtype=np.int64),
            "attention_mask": np.zeros(shape, dtype=np.int64),
            "token_type_ids": np.full(shape, self.padding.token_type, dtype=np.int64),
        }
        for place, row in enumerate(rows):
            begin = length - len(row.ids) if self.padding.side == "left" else 0
            filled = slice(begin, begin + len(row.ids))
            arrays["input_ids"][place, filled] = row.ids
            arrays["attention_mask"][place, filled] = 1
            arrays["token_type_ids"][place, filled] = row.types
        return arrays

    def room(self, texts: int) -> int:
        """Tokens that a row of one text or two has beside the special ones."""
        return self.padding.lengths.longest - self._frames[texts].size

    def first_of(self, texts: int, before: int = 0) -> int:
        """The place in a row of its last text's first token, `before` tokens being those of the text before."""
        return before + sum(map(len, self._frames[texts].ids[:-1]))

    def pieces(self, text: str | Sequence[str]) -> Encoding:
        """A text's tokens, all of them and without special ones; several strings are words of one text."""
        return self.tokenizer.encode(
            text, is_pretokenized=not isinstance(text, str), add_special_tokens=False
        )

    def frame(self, texts: Sequence[Sequence[int]]) -> Row:
        """The row of one text's ids or two's, with the special tokens around them."""
        frame = self._frames[len(texts)]
        ids, types = list(frame.ids[0]), list(frame.types[0])
        for index, piece in enumerate(texts):
            ids += piece
            types += [frame.text_types[index]] * len(piece)
            ids += frame.ids[index + 1]
            types += frame.types[index + 1]
        return Row(ids, types)

    def _cut(self, texts: tuple[str, ...]) -> Row:
        pieces = [self.pieces(text).ids for text in texts]
        counts = kept_counts([len(piece) for piece in pieces], self.room(len(texts)))
        return self.frame(
            [
                piece[len(piece) - count :] if self._keeps_end else piece[:count]
                for piece, count in zip(pieces, counts, strict=True)
            ]
        )


def kept_counts(counts: Sequence[int], room: int) -> list[int]:
    """How many tokens of one text or two stay when `room` is all there is; the longer text gives first.

    When both have to give, they get half each, and the one that was longer (or else the second) an odd token.
    """
    if sum(counts) <= room:
        return list(counts)
    if len(counts) == 1:
        return [room]
    shorter = min(*counts, room // 2)
    return [room - shorter, shorter] if counts[0] > counts[1] else [shorter, room - shorter]


def _frame(encoding: Encoding, texts: int) -> Frame:
    """The frame that a post-processor puts around texts, read off an encoding of short ones."""
    ids: list[list[int]] = [[] for _ in range(texts + 1)]
    types: list[list[int]] = [[] for _ in range(texts + 1)]
    text_types = [0] * texts
    section = 0
    for text, token, kind in zip(encoding.sequence_ids, encoding.ids, encoding.type_ids, strict=True):
        if text is None:
            ids[section].append(token)
            types[section].append(kind)
        else:
            section, text_types[text] = text + 1, kind
    return Frame(tuple(map(tuple, ids)), tuple(map(tuple, types)), tuple(text_types))


class PythonEncoder:
    """A tokenizer of transformers that is written in Python; one thread at a time, as it may keep state."""

    def __init__(self, tokenizer: Any, lengths: Lengths) -> None:
        self.tokenizer = tokenizer
        self.lengths = lengths
        self._lock = Lock()

    def encode(self, texts: Sequence[Text]) -> Mapping[str, Int64]:
        first = [text[0] if isinstance(text, tuple) else text for text in texts]
        second = [text[1] for text in texts if isinstance(text, tuple)] or None
        with self._lock:
            rows = self.tokenizer(first, second, truncation=True, max_length=self.lengths.longest)
            length = self.lengths.fitting(max((len(row) for row in rows["input_ids"]), default=0))
            encoded = self.tokenizer.pad(rows, padding="max_length", max_length=length, return_tensors="np")
        return {name: array.astype(np.int64) for name, array in encoded.items()}


def load_encoder(folder: Path, lengths: Lengths, *, trust_remote_code: bool = False) -> TextEncoder:
    """The tokenizer of a model's folder, cutting and padding to `lengths`.

    Raises ModelNotFoundError when the folder has no tokenizer, ModelError when it cannot be read, and
    OptionError when a length has no room for text.
    """
    # Both files may name the padding token; where they differ, `_reads_plainly` says no.
    named = read_json(folder / "special_tokens_map.json")
    settings = named | read_json(folder / "tokenizer_config.json")
    file = folder / "tokenizer.json"
    if not trust_remote_code and file.is_file() and _reads_plainly(read_json(file), settings, named):
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises no class of its own
            message = f"{file} cannot be read: {error}"
            raise ModelError(message) from error
        padding = Padding(
            lengths,
            _pad_token(tokenizer, settings),
            int(settings.get("pad_token_type_id", 0)),
            str(settings.get("padding_side", "right")),
        )
        return JsonEncoder(tokenizer, padding, str(settings.get("truncation_side", "right")))
    return wrap_tokenizer(_auto_tokenizer(folder, trust_remote_code=trust_remote_code), lengths)


def wrap_tokenizer(tokenizer: Any, lengths: Lengths) -> TextEncoder:
    """A tokenizer of transformers that the user already has; it is not changed."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(fast, Tokenizer):
        return PythonEncoder(tokenizer, lengths)
    padding = Padding(
        lengths, tokenizer.pad_token_id or 0, int(tokenizer.pad_token_type_id), str(tokenizer.padding_side)
    )
    return JsonEncoder(Tokenizer.from_str(fast.to_str()), padding, str(tokenizer.truncation_side))


def _reads_plainly(content: Mapping[str, Any], settings: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    """Whether tokenizer.json alone says what AutoTokenizer would do with the folder."""
    if settings.get("tokenizer_class") not in _PLAIN_CLASSES or "auto_map" in settings:
        return False
    if named.get("pad_token", settings.get("pad_token")) != settings.get("pad_token"):
        return False
    normaliser = content.get("normalizer") or {}
    written = {theirs: settings[ours] for ours, theirs in _NORMALISER_SETTINGS.items() if ours in settings}
    if normaliser.get("type") == "BertNormalizer" and any(normaliser.get(k) != v for k, v in written.items()):
        return False
    added = {str(token["id"]) for token in content.get("added_tokens", [])}
    return set(settings.get("added_tokens_decoder", {})) <= added


def _pad_token(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> int:
    named = settings.get("pad_token") or "[PAD]"
    token = tokenizer.token_to_id(named["content"] if isinstance(named, dict) else named)
    return 0 if token is None else token


def _auto_tokenizer(folder: Path, *, trust_remote_code: bool) -> Any:
    with _no_advice():
        from transformers import AutoTokenizer  # a second that most models never need
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # anything from a missing file to a bad table
        found = any(folder.glob("*token*")) or any(folder.glob("*vocab*"))
        lines = str(error).strip().splitlines() if found else ["there are no files of one"]
        message = (
            f"No usable tokenizer in {folder}: {lines[0].rstrip(' .:') if lines else type(error).__name__}. "
            "Put tokenizer.json and tokenizer_config.json beside the model, or give tokenizer=."
        )
        raise ModelNotFoundError(message) from error


@contextmanager
def _no_advice() -> Iterator[None]:
    """Without the import's advice to install PyTorch, and without a change that outlives the import."""
    name = "TRANSFORMERS_NO_ADVISORY_WARNINGS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
