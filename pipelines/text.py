"""What all text tasks share: tokenizer and configuration beside the model, and one length for all rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engine import ModelError, OptionError
from pipelines.deployment import read_json
from pipelines.pipeline import Pipeline
from pipelines.tokenizer import Text, TextEncoder, load_encoder, wrap_tokenizer

Array = NDArray[Any]


class TextPipeline(Pipeline):
    """A pipeline over a transformer: texts are cut and padded to `sequence_length` tokens.

    The model is compiled for that length; its file is not touched.
    """

    config: dict[str, Any]
    encoder: TextEncoder

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        sequence_length: int = 128,
        config: str | Path | Mapping[str, Any] | Any | None = None,
        tokenizer: str | Path | Any | None = None,
        trust_remote_code: bool = False,
        **arguments: Any,
    ) -> None:
        """Read what lies beside the model, then compile it; the other keywords are those of `Pipeline`.

        sequence_length     tokens per row, special ones included; `input_shapes` overrules it
        config              instead of the folder's config.json: another file or folder, a dictionary, or a
                            configuration object of transformers
        tokenizer           instead of the folder's: another folder, or a tokenizer of transformers
        trust_remote_code   let transformers run a tokenizer's own Python code

        Raises OptionError for a length that is no whole number from 1 or longer than the model's positions,
        ModelNotFoundError without a tokenizer, ModelError when the model wants an input that the tokenizer
        does not give, and what `Pipeline` raises.
        """
        shapes = arguments.get("input_shapes")
        self.sequence_length = _checked_length(shapes[0][-1] if shapes else sequence_length)
        self._config_source, self._tokenizer_source = config, tokenizer
        self._trust_remote_code = trust_remote_code
        super().__init__(model_path, **arguments)
        self._check_inputs()

    def setup_onnx_file_path(self) -> str:
        folder = self.deployment.folder
        self.config = _config(folder, self._config_source)
        positions = self.config.get("max_position_embeddings")
        if isinstance(positions, int) and self.sequence_length > positions:
            message = (
                f"sequence_length is {self.sequence_length}, but the model in {folder} has {positions} "
                f"positions. Take at most {positions}; longer texts are cut."
            )
            raise OptionError(message)
        source = self._tokenizer_source
        if source is None or isinstance(source, (str, os.PathLike)):
            folder = folder if source is None else Path(source)
            self.encoder = load_encoder(
                folder, self.sequence_length, trust_remote_code=self._trust_remote_code
            )
        else:
            self.encoder = wrap_tokenizer(source, self.sequence_length)
        return super().setup_onnx_file_path()

    def engine_shapes(self, batch_size: int | None) -> list[list[int]] | None:
        # Without a batch of one's own, rows and tokens stay open: the engine compiles for what comes.
        if isinstance(batch_size, int) and batch_size > 0:
            return [[batch_size, self.sequence_length]]
        return None

    def encode(self, texts: Sequence[Text]) -> list[Array]:
        """The model's inputs, int64 [texts, sequence_length] each, in its order."""
        rows = self.encoder.encode(texts)
        return [rows[name] for name in self.engine.input_names]

    def _check_inputs(self) -> None:
        shapes = list(self.engine.input_shapes)
        if any(len(shape) == 2 and shape[1] not in (-1, self.sequence_length) for shape in shapes):
            message = (
                f"The model {self.onnx_file_path} takes {[tuple(shape) for shape in shapes]}, not rows of "
                f"{self.sequence_length} tokens. Give that sequence_length, or a batch_size."
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


def _checked_length(length: Any) -> int:
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        message = f"sequence_length must be a whole number from 1; got {length!r}."
        raise OptionError(message)
    return length


def _config(folder: Path, source: Any) -> dict[str, Any]:
    if source is None:
        return read_json(folder / "config.json")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return read_json(path / "config.json" if path.is_dir() else path)
    content: Mapping[str, Any] = source if isinstance(source, Mapping) else source.to_dict()
    return dict(content)
