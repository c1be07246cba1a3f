"""Task image-classification: one label, or several with scores, for each image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from engine import OptionError
from pipelines.images import prepare, steps_of
from pipelines.registry import Task
from pipelines.scores import softmax
from pipelines.vision import ImageInput, ImagePipeline, image_list

Array = NDArray[Any]


class ImageClassificationOutput(BaseModel):
    """The best classes: flat lists for one image, nested ones for several."""

    labels: list[int | str] | list[list[int | str]] = Field(description="Names, or numbers without names.")
    scores: list[float] | list[list[float]] = Field(description="In the form of the labels.")


class ImageClassificationPipeline(ImagePipeline):
    """Classifies images.

        classify = Pipeline.create(task="image-classification", top_k=2)
        classify("garment.png")                       # labels=['Coat', 'Shirt'] scores=[0.8, 0.1]
        classify(["one.png", image, array])           # nested lists

    An array with four axes is a batch that was prepared already, and goes to the model as it is; u8 values are
    scaled and normalised first.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        top_k: int = 1,
        probabilities: bool | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `ImagePipeline`.

        top_k           classes per image, best first
        probabilities   put a softmax over the model's first output; None: for a model with a config.json, whose
                        output is logits by custom. Without it, scores are in the output's own units

        Raises OptionError for a top_k below 1.
        """
        if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
            message = f"top_k must be a whole number from 1; got {top_k!r}."
            raise OptionError(message)
        super().__init__(model_path, **arguments)
        self.top_k = top_k
        self.probabilities = bool(self.config) if probabilities is None else probabilities
        self.steps = steps_of(self.preprocessor, self.image_size, self.channels)

    @property
    def output_schema(self) -> type[ImageClassificationOutput]:
        return ImageClassificationOutput

    def process_inputs(self, inputs: ImageInput) -> tuple[list[Array], dict[str, Any]]:
        if isinstance(inputs.images, np.ndarray) and inputs.images.ndim == 4:
            return [self._prepared_batch(inputs.images)], {"nested": len(inputs.images) != 1}
        sources, _ = image_list(inputs.images)
        rows = self.each(sources, lambda image: prepare(image, self.steps))
        batch = np.stack(rows) if rows else np.zeros((0, self.channels, *self.image_size), np.float32)
        return [batch.astype(self.input_dtype, copy=False)], {"nested": len(sources) != 1}

    def process_engine_outputs(
        self, engine_outputs: list[Array], **context: Any
    ) -> ImageClassificationOutput:
        if not engine_outputs:
            return ImageClassificationOutput(labels=[], scores=[])
        output = engine_outputs[0].reshape(len(engine_outputs[0]), -1)
        scores = softmax(output) if self.probabilities else output
        ranked = np.argsort(-scores, axis=-1, kind="stable")[:, : self.top_k]
        labels = [[self.names.get(index, index) for index in row] for row in ranked.tolist()]
        best = np.take_along_axis(scores, ranked, axis=-1).tolist()
        if context["nested"]:
            return ImageClassificationOutput(labels=labels, scores=best)
        return ImageClassificationOutput(labels=labels[0], scores=best[0])

    def _prepared_batch(self, images: Array) -> Array:
        if images.dtype == np.uint8 and self.input_dtype != np.uint8:
            std = np.asarray(self.steps.std)[:, None, None]
            scale = (self.steps.factor / std).astype(np.float32)
            shift = (np.asarray(self.steps.mean)[:, None, None] / std).astype(np.float32)
            images = images * scale - shift
        return np.ascontiguousarray(images, dtype=self.input_dtype)


TASK = Task(
    name="image_classification",
    pipeline=ImageClassificationPipeline,
    default_model_path="embedded:garments-cnn-int8",
)
