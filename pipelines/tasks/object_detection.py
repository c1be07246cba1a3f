"""Task object-detection: boxes, labels and scores in images, by models of the YOLO family."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_serializer

from engine import ModelError, OptionError
from pipelines.detection import ANCHORS, FRAME_GREY, Candidates, Detections, Placement, candidates, detect
from pipelines.masks import box_masks
from pipelines.registry import Task
from pipelines.vision import ImageInput, ImagePipeline, image_list

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
SUBTASKS = ("detection", "segmentation")
ImageDetections = namedtuple("ImageDetections", ["boxes", "scores", "labels"])


class ObjectDetectionInput(ImageInput):
    """Images, and where the line is drawn between a detection and none."""

    iou_thres: float = Field(default=0.25, ge=0, le=1, description="Overlap above which the worse box goes.")
    conf_thres: float = Field(default=0.45, ge=0, le=1, description="The least score of a detection.")
    multi_label: bool = Field(default=False, description="Whether a cell may have several classes.")
    return_masks: bool = Field(
        default=True, description="Whether masks are computed, where the model has them."
    )
    return_intermediate_outputs: bool = Field(
        default=False, description="Whether the model's output is kept."
    )


class ObjectDetectionOutput(BaseModel):
    """One list per image; boxes are x1, y1, x2, y2 in its pixels."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    boxes: list[list[list[float]]] = Field(description="Corners, best detection first.")
    scores: list[list[float]] = Field(description="From 0 to 1.")
    labels: list[list[str | float]] = Field(description="Names, or class numbers without names.")
    masks: list[Any] | None = Field(default=None, description="Per image u8 [detections, height, width].")
    intermediate_outputs: list[Any] | None = Field(default=None, description="The model's own outputs.")

    def __getitem__(self, image: int) -> ImageDetections:
        """Boxes, scores and labels of one image."""
        return ImageDetections(self.boxes[image], self.scores[image], self.labels[image])

    def __iter__(self) -> Iterator[ImageDetections]:  # type: ignore[override]
        """Boxes, scores and labels of each image."""
        return map(self.__getitem__, range(len(self.boxes)))

    @field_serializer("masks", "intermediate_outputs")
    def _as_lists(self, arrays: list[Any] | None) -> list[Any] | None:
        return None if arrays is None else [np.asarray(array).tolist() for array in arrays]


class ObjectDetectionPipeline(ImagePipeline):
    """Finds objects in images.

        find = Pipeline.create(task="object-detection")
        found = find("scene.png", conf_thres=0.3)
        found.boxes[0], found.labels[0]           # [[12.0, 30.5, 60.1, 88.0], ...], ['Coat', ...]

    The model's output is read in whichever form of the family it has (`pipelines.detection`).
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        model_config: str | Path | Mapping[str, Any] | None = None,
        letterbox: bool = False,
        channel_order: str = "rgb",
        subtask: str = "detection",
        nms_function: Callable[[Candidates, float, float], Detections] | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `ImagePipeline`.

        model_config    a YOLO configuration (YAML) or a dictionary with `anchors`, for models that answer in grids
        letterbox       keep the image's proportions and frame it in grey; else it is stretched to the model's size
        channel_order   rgb, or bgr for models that were trained on images read by OpenCV
        subtask         segmentation: the model's second output are prototypes of masks
        nms_function    in place of `pipelines.detection.detect`: candidates, least score, overlap to detections

        Raises OptionError for another subtask or order, and anchors that are none.
        """
        if subtask not in SUBTASKS or channel_order not in ("rgb", "bgr"):
            message = f"subtask is one of {', '.join(SUBTASKS)}, channel_order rgb or bgr; got {subtask}, {channel_order}."
            raise OptionError(message)
        self.subtask, self.letterbox, self.channel_order = subtask, letterbox, channel_order
        self.anchors = _anchors(model_config)
        self.nms_function = nms_function
        super().__init__(model_path, **arguments)
        self._checked_size = self.image_size

    @property
    def input_schema(self) -> type[ObjectDetectionInput]:
        return ObjectDetectionInput

    @property
    def output_schema(self) -> type[ObjectDetectionOutput]:
        return ObjectDetectionOutput

    def process_inputs(self, inputs: ObjectDetectionInput) -> tuple[list[Array], dict[str, Any]]:
        prepared = self.each(image_list(inputs.images)[0], self._prepare)
        size = self.image_size
        shape = (0, self.channels, *size)
        batch = np.stack([row for row, _ in prepared]) if prepared else np.zeros(shape, self.input_dtype)
        return [batch], {"inputs": inputs, "placements": [placement for _, placement in prepared]}

    def process_engine_outputs(self, engine_outputs: list[Array], **context: Any) -> ObjectDetectionOutput:
        inputs: ObjectDetectionInput = context["inputs"]
        answer = ObjectDetectionOutput(boxes=[], scores=[], labels=[])
        if not engine_outputs:
            return answer
        prototypes = self._prototypes(engine_outputs)
        count = 0 if prototypes is None else prototypes.shape[1]
        cells = candidates(engine_outputs, self.anchors, self.image_size[0], count)
        masks: list[Any] = []
        for place, (placement, image) in enumerate(zip(context["placements"], cells, strict=True)):
            found = self._detect(image, inputs)
            answer.boxes.append(placement.back(found.boxes).tolist())
            answer.scores.append(found.scores.astype(float).tolist())
            answer.labels.append([self.names.get(kind, float(kind)) for kind in found.classes.tolist()])
            if prototypes is not None and inputs.return_masks:
                height, width = self.image_size
                own = box_masks(found.extra, prototypes[place], found.boxes, (width, height), placement)
                masks.append(np.stack(own) if own else np.zeros((0, *placement.image[::-1]), np.uint8))
        if prototypes is not None and inputs.return_masks:
            answer.masks = masks
        if inputs.return_intermediate_outputs:
            answer.intermediate_outputs = list(engine_outputs)
        return answer

    def _prepare(self, image: Image) -> tuple[Array, Placement]:
        from PIL import Image as Pillow

        image = image.convert("L" if self.channels == 1 else "RGB")
        height, width = self.image_size
        placement = Placement.of(image.size, (width, height), letterbox=self.letterbox)
        inner = (width, height)
        if self.letterbox:
            inner = (round(image.width * placement.scale[0]), round(image.height * placement.scale[1]))
        pixels = np.asarray(image.resize(inner, Pillow.Resampling.BILINEAR)).reshape(
            *inner[::-1], self.channels
        )
        framed = np.full((height, width, self.channels), FRAME_GREY, dtype=np.uint8)
        left, top = int(placement.offset[0]), int(placement.offset[1])
        framed[top : top + inner[1], left : left + inner[0]] = pixels
        if self.channel_order == "bgr":
            framed = framed[..., ::-1]
        row = np.ascontiguousarray(framed.transpose(2, 0, 1))
        if self.input_dtype == np.uint8:
            return row, placement
        return row.astype(self.input_dtype) / self.input_dtype.type(255), placement

    def _detect(self, image: Candidates, inputs: ObjectDetectionInput) -> Detections:
        if self.nms_function is not None:
            return self.nms_function(image, inputs.conf_thres, inputs.iou_thres)
        return detect(image, inputs.conf_thres, inputs.iou_thres, multi_label=inputs.multi_label)

    def _prototypes(self, outputs: list[Array]) -> Array | None:
        if self.subtask == "detection":
            return None
        if len(outputs) < 2 or outputs[1].ndim != 4:
            message = (
                f"subtask segmentation needs a second output [batch, prototypes, rows, columns]; "
                f"{self.onnx_file_path} gives {[output.shape for output in outputs]}."
            )
            raise ModelError(message)
        return outputs[1]


def _anchors(source: str | Path | Mapping[str, Any] | None) -> list[list[tuple[float, float]]]:
    """Pairs per stride, from a configuration whose `anchors` are flat lists per stride."""
    if source is None:
        return [[(float(w), float(h)) for w, h in pairs] for pairs in ANCHORS]
    content = (
        source if isinstance(source, Mapping) else yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    )
    try:
        flat = [[float(number) for number in row] for row in content["anchors"]]
        return [list(zip(row[::2], row[1::2], strict=True)) for row in flat]
    except (KeyError, TypeError, ValueError) as error:
        message = f"model_config needs anchors: a list per stride of widths and heights in turn ({error!r})."
        raise OptionError(message) from error


TASK = Task(
    name="object_detection",
    pipeline=ObjectDetectionPipeline,
    aliases=("yolo", "yolov5", "yolov8"),
    default_model_path="embedded:garments-detector-int8",
)
