"""What all text tasks share: tokenizer and configuration beside the model, and the lengths of their rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine import ModelError, OptionError
from pipelines.buckets import engine_of_lengths, skips_padding
from pipelines.deployment import read_json
from pipelines.engines import EngineArguments, EngineLike, make_engine
from pipelines.grouping import calls
from pipelines.lengths import Lengths
from pipelines.pipeline import Pipeline
from pipelines.tokenizer import JsonEncoder, Text, TextEncoder, load_encoder, wrap_tokenizer

Array = NDArray[Any]


class TextPipeline(Pipeline):
    """A pipeline over a transformer: texts are cut and padded to a length that the model is compiled for.

    The model's file is not touched.
    """

    # Outputs with so many axes have one entry per token; None: all outputs are per text.
    token_axes: ClassVar[int | None] = None

    config: dict[str, Any]
    encoder: TextEncoder
    lengths: Lengths

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        sequence_length: int | list[int] | None = 128,
        config: str | Path | Mapping[str, Any] | Any | None = None,
        tokenizer: str | Path | Any | None = None,
        trust_remote_code: bool = False,
        **arguments: Any,
    ) -> None:
        """Read what lies beside the model, then compile it; the other keywords are those of `Pipeline`.

        sequence_length     tokens per row, special ones included. A list makes buckets: each request takes the
                            smallest that holds its longest text, and all share one set of weights. None: rows
                            are as long as their text; padding is not computed. `input_shapes` overrules a number
        config              instead of the folder's config.json: another file or folder, a dictionary, or a
                            configuration object of transformers
        tokenizer           instead of the folder's: another folder, or a tokenizer of transformers
        trust_remote_code   let transformers run a tokenizer's own Python code

        Raises OptionError for a length that is no whole number from 1 or longer than the model's positions, and
        for buckets with `input_shapes`; ModelNotFoundError without a tokenizer, ModelError when the model wants
        an input that the tokenizer does not give, and what `Pipeline` raises.
        """
        shapes = arguments.get("input_shapes")
        if shapes and not isinstance(sequence_length, int):
            message = f"input_shapes and sequence_length={sequence_length} exclude each other; give one."
            raise OptionError(message)
        self._asked_length = shapes[0][-1] if shapes else sequence_length
        self._config_source, self._tokenizer_source = config, tokenizer
        self._trust_remote_code = trust_remote_code
        super().__init__(model_path, **arguments)
        self._check_inputs()

    @property
    def sequence_length(self) -> int:
        """Tokens of the longest row; longer texts are cut."""
        return self.lengths.longest

    @property
    def buckets(self) -> tuple[int, ...]:
        """The lengths that rows may have, rising; none when they are as long as their text."""
        return self.lengths.buckets

    def setup_onnx_file_path(self) -> str:
        folder = self.deployment.folder
        self.config = _config(folder, self._config_source)
        positions = self.config.get("max_position_embeddings")
        self.lengths = Lengths.read(self._asked_length, positions if isinstance(positions, int) else None)
        source = self._tokenizer_source
        if source is None or isinstance(source, (str, os.PathLike)):
            folder = folder if source is None else Path(source)
            self.encoder = load_encoder(folder, self.lengths, trust_remote_code=self._trust_remote_code)
        else:
            self.encoder = wrap_tokenizer(source, self.lengths)
        return super().setup_onnx_file_path()

    def engine_shapes(self, batch_size: int | None) -> list[list[int]] | None:
        # Without a batch of one's own, rows and tokens stay open: the engine compiles for what comes.
        if self.lengths.is_fixed and isinstance(batch_size, int) and batch_size > 0:
            return [[batch_size, self.sequence_length]]
        return None

    def setup_engine(self, arguments: EngineArguments) -> EngineLike:
        if self.lengths.is_fixed:
            return make_engine(self.engine_type, arguments)
        return engine_of_lengths(self.engine_type, arguments, self.lengths)

    def to_arrays(self, texts: Sequence[Text]) -> list[Array]:
        """The model's inputs, int64 [texts, tokens] each, in its order."""
        return self.in_order(self.encoder.encode(texts))

    def logits(self, engine_outputs: list[Array]) -> Array:
        """The model's first output: labels of each text, or of each of its tokens (`token_axes`).

        Raises ModelError for an output of another form, which is that of a model for another task.
        """
        found, axes = engine_outputs[0], self.token_axes or 2
        if found.ndim != axes:
            form = "[texts, labels]" if axes == 2 else "[texts, tokens, labels]"
            message = (
                f"The task {self.task} takes a model that answers with {form}; {self.onnx_file_path} answers with "
                f"{list(found.shape)}. Give a model that was trained for this task."
            )
            raise ModelError(message)
        return found

    def in_order(self, rows: Mapping[str, Array]) -> list[Array]:
        """Named inputs as the engine takes them."""
        return [rows[name] for name in self.engine.input_names]

    def exact_encoder(self) -> JsonEncoder:
        """The encoder that knows where each token stands in the text. Raises OptionError for a slow tokenizer."""
        if not isinstance(self.encoder, JsonEncoder):
            message = f"The task {self.task} needs a fast tokenizer (a tokenizer.json beside the model)."
            raise OptionError(message)
        return self.encoder

    def run_batches(self, arrays: list[Array]) -> list[Array]:
        """With rows of any length, batches of similar ones; outputs at padding are zeros.

        An engine that does not compute padding gets few shapes, so that few plans serve all texts (`grouping`); another
        one gets rows without padding, one length at a time.
        """
        rows = dict(zip(self.engine.input_names, arrays, strict=True))
        mask = rows.get("attention_mask")
        if self.buckets or mask is None or not len(mask):
            return super().run_batches(arrays)
        if skips_padding(self.engine) and (np.diff(mask, axis=1) <= 0).all() and mask[:, 0].all():
            return self._run_grouped(arrays, mask)
        if mask.all():
            return super().run_batches(arrays)
        counts = mask.sum(axis=1)
        outputs: list[Array] = []
        for count in np.unique(counts):
            chosen = np.flatnonzero(counts == count)
            kept = np.flatnonzero(mask[chosen[0]])
            part = super().run_batches(
                [np.ascontiguousarray(array[np.ix_(chosen, kept)]) for array in arrays]
            )
            outputs = outputs or [self._empty(output, mask.shape) for output in part]
            for whole, output in zip(outputs, part, strict=True):
                whole[np.ix_(chosen, kept) if output.ndim == self.token_axes else chosen] = output
        return outputs

    def _run_grouped(self, arrays: list[Array], mask: Array) -> list[Array]:
        """Calls of few shapes; the mask's ones come first in every row."""
        counts, width = mask.sum(axis=1), mask.shape[1]
        groups = list(calls(counts, self.lengths.longest, self._rows_per_call()))
        asks_mask = [name == "attention_mask" for name in self.engine.input_names]
        pieces = []
        for call in groups:
            kept = min(call.length, width)
            piece = [np.zeros((call.rows, call.length), array.dtype) for array in arrays]
            for whole, array, is_mask in zip(piece, arrays, asks_mask, strict=True):
                # What stands at padding is never read, but every row has a first token.
                whole[len(call.places) :, 0] = is_mask
                whole[: len(call.places), :kept] = array[call.places, :kept]
            pieces.append(piece)
        outputs: list[Array] = []
        for call, part in zip(groups, self.run_all(pieces), strict=True):
            kept = min(call.length, width)
            outputs = outputs or [self._empty(output, mask.shape) for output in part]
            for whole, output in zip(outputs, part, strict=True):
                if output.ndim == self.token_axes:
                    whole[call.places, :kept] = output[: len(call.places), :kept]
                else:
                    whole[call.places] = output[: len(call.places)]
        return outputs

    def _empty(self, output: Array, rows: tuple[int, ...]) -> Array:
        """Zeros for all rows of a request, in the form of the output of some."""
        inner = (rows[1], *output.shape[2:]) if output.ndim == self.token_axes else output.shape[1:]
        return np.zeros((rows[0], *inner), output.dtype)

    def _check_inputs(self) -> None:
        shapes = list(self.engine.input_shapes)
        fixed = {shape[1] for shape in shapes if len(shape) == 2} - {-1}
        if fixed and fixed != set(self.buckets):
            message = (
                f"The model {self.onnx_file_path} takes {[tuple(shape) for shape in shapes]}, not rows of "
                f"{list(self.buckets) or 'any number of'} tokens. Give that sequence_length, or a batch_size."
            )
            raise OptionError(message)
        given = list(self.encoder.encode(["text"]))
        missing = [name for name in self.engine.input_names if name not in given]
        if missing:
            message = (
                f"The model {self.onnx_file_path} takes {list(self.engine.input_names)}, but the tokenizer "
                f"gives {given}: nothing for {missing}."
            )
            raise ModelError(message)


def _config(folder: Path, source: Any) -> dict[str, Any]:
    if source is None:
        return read_json(folder / "config.json")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return read_json(path / "config.json" if path.is_dir() else path)
    content: Mapping[str, Any] = source if isinstance(source, Mapping) else source.to_dict()
    return dict(content)
