"""Task embedding-extraction: one vector for each text, as sentence encoders give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_serializer

from engine import OptionError
from pipelines.deployment import read_json
from pipelines.names import did_you_mean
from pipelines.pooling import POOLING, normalised
from pipelines.registry import Task, find_task
from pipelines.text import TextPipeline

Array = NDArray[Any]


class EmbeddingExtractionInput(BaseModel):
    """One text or several."""

    model_config = ConfigDict(extra="forbid")

    inputs: str | list[str] = Field(description="A text or a list of texts.", examples=["A sentence."])


class EmbeddingExtractionOutput(BaseModel):
    """One vector per text, in their order."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    embeddings: list[list[float]] | list[Any] = Field(description="A list of numbers, or an array, per text.")

    @field_serializer("embeddings")
    def _as_lists(self, embeddings: list[Any]) -> list[list[float]]:
        return [np.asarray(row).tolist() for row in embeddings]


class EmbeddingExtractionPipeline(TextPipeline):
    """Turns texts into vectors.

        embed = Pipeline.create("embedding-extraction", model_path="all-MiniLM-L6-v2/", normalize=True)
        embed.encode(["A sentence.", "Another one."])     # f32 [2, 384]

    The model's first output with three axes are its tokens' vectors; a model that has none gives its own vector per
    text, and nothing is pooled.
    """

    token_axes: ClassVar[int | None] = 3

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        pooling: str | None = None,
        normalize: bool | None = None,
        extraction_strategy: str | None = None,
        return_numpy: bool = False,
        base_task: str | None = None,
        emb_extraction_layer: int | str | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `TextPipeline`.

        pooling               mean, max, cls, or reduce_mean and reduce_max (without the first token), or per_token
                              (all tokens' vectors in one row); None: what 1_Pooling/config.json beside the model says,
                              else mean
        normalize             to length 1; None: whether modules.json beside the model has such a step
        extraction_strategy   another word for pooling
        return_numpy          arrays instead of lists
        base_task             a text task or None: the inputs are texts all the same
        emb_extraction_layer  None, or -1 for the last layer: the model's own outputs are taken

        Raises OptionError for an unknown pooling, a base task of images, and another layer.
        """
        _check_whole_model(base_task, emb_extraction_layer)
        super().__init__(model_path, **arguments)
        folder = self.deployment.folder
        asked = pooling or extraction_strategy or _pooling_of(read_json(folder / "1_Pooling" / "config.json"))
        if asked not in POOLING:
            near = did_you_mean(asked, POOLING)
            message = f'Unknown pooling "{asked}"{near} Known: {", ".join(POOLING)}.'
            raise OptionError(message)
        modules = folder / "modules.json"
        steps = modules.read_text(encoding="utf-8") if modules.is_file() else ""
        self.pooling = asked
        self.normalize = "models.Normalize" in steps if normalize is None else normalize
        self.return_numpy = return_numpy

    @property
    def input_schema(self) -> type[EmbeddingExtractionInput]:
        return EmbeddingExtractionInput

    @property
    def output_schema(self) -> type[EmbeddingExtractionOutput]:
        return EmbeddingExtractionOutput

    def parse_inputs(self, *args: Any, **keywords: Any) -> BaseModel:
        if not args or keywords or isinstance(args[0], BaseModel):
            return super().parse_inputs(*args, **keywords)
        return EmbeddingExtractionInput(inputs=args[0] if len(args) == 1 else list(args))

    def process_inputs(self, inputs: EmbeddingExtractionInput) -> tuple[list[Array], dict[str, Any]]:
        rows = self.encoder.encode([inputs.inputs] if isinstance(inputs.inputs, str) else inputs.inputs)
        return self.in_order(rows), {"mask": rows["attention_mask"]}

    def process_engine_outputs(
        self, engine_outputs: list[Array], **context: Any
    ) -> EmbeddingExtractionOutput:
        if not engine_outputs:
            return EmbeddingExtractionOutput(embeddings=[])
        tokens = next((output for output in engine_outputs if output.ndim == self.token_axes), None)
        vectors = engine_outputs[0] if tokens is None else POOLING[self.pooling](tokens, context["mask"])
        if self.normalize:
            vectors = normalised(vectors)
        return EmbeddingExtractionOutput(embeddings=list(vectors) if self.return_numpy else vectors.tolist())

    def encode(self, texts: Any, **options: Any) -> Any:
        """Vectors f32 [texts, width], or [width] for a single text, as sentence-transformers' method of this name.

        options   normalize_embeddings, batch_size (texts that are tokenised at once), convert_to_numpy

        Raises TypeError for other options.
        """
        unknown = set(options) - {
            "normalize_embeddings",
            "batch_size",
            "convert_to_numpy",
            "show_progress_bar",
        }
        if unknown:
            raise TypeError(self._unexpected(min(unknown)))
        single = isinstance(texts, str)
        rows = [texts] if single else list(texts)
        size = int(options.get("batch_size", 32))
        parts = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
        found = [vector for answer in self.map(parts) for vector in answer.embeddings]
        vectors = np.asarray(found, dtype=np.float32)
        if options.get("normalize_embeddings"):
            vectors = normalised(vectors)
        if not options.get("convert_to_numpy", True):
            return vectors[0].tolist() if single else vectors.tolist()
        return vectors[0] if single else vectors


def _check_whole_model(base_task: str | None, layer: int | str | None) -> None:
    """The two arguments of the predecessor that chose a model's inputs and an output inside of it."""
    if base_task is not None and not issubclass(find_task(base_task).pipeline, TextPipeline):
        message = (
            f'base_task="{base_task}" is no task of texts. For vectors of images, take the task "custom" with the '
            "model cut at the layer of choice (onnx.utils.extract_model)."
        )
        raise OptionError(message)
    if layer is not None and layer != -1:
        message = (
            f"emb_extraction_layer={layer!r}: the model is run as it is. Cut the file at that layer with "
            "onnx.utils.extract_model(model, cut, inputs, [tensor]) and give the cut file; leave the argument out."
        )
        raise OptionError(message)


def _pooling_of(config: dict[str, Any]) -> str:
    """The one mode that a configuration of sentence-transformers switches on."""
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
    return next((name for mode, name in modes.items() if config.get(mode)), "mean")


TASK = Task(
    name="embedding_extraction",
    pipeline=EmbeddingExtractionPipeline,
    aliases=("transformers_embedding_extraction",),
)
